"""A model that tracks: what the official video predictors share, whatever their calls are."""

from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from torch import nn

from sam2.modeling.config import Behaviour, ModelConfig, with_postprocessing
from sam2.modeling.sam2_base import SAM2Base

T = TypeVar("T", bool, int, float)


class _Flag(Generic[T]):
    """An official attribute that is a field of the behaviour; may be set at any time."""

    name: str

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: SAM2Base, owner: type | None = None) -> T:
        return cast(T, getattr(model.behaviour, self.name))

    def __set__(self, model: SAM2Base, value: T) -> None:
        changes: dict[str, Any] = {self.name: value}
        model.behaviour = replace(model.behaviour, **changes)


class TrackingModel(SAM2Base):
    """A model with the official attributes of video predictors; made of its parts, or over a model that is there.

    Over a model it shares the weights and adds what ``apply_postprocessing`` means for videos; the model itself behaves
    as before. An image size other than the model's is to be set before.

    Args:
        image_encoder: a model to share; or, as of :class:`SAM2Base`, a part.
        memory_attention, memory_encoder, config, behaviour: as of :class:`SAM2Base`; not with a model.
        postprocessing: with a model: fill small holes, and make memories of prompted frames from binary masks.
    """

    multimask_output_in_sam = _Flag[bool]()
    multimask_min_pt_num = _Flag[int]()
    multimask_max_pt_num = _Flag[int]()
    multimask_output_for_tracking = _Flag[bool]()
    sigmoid_scale_for_mem_enc = _Flag[float]()
    sigmoid_bias_for_mem_enc = _Flag[float]()
    binarize_mask_from_pts_for_mem_enc = _Flag[bool]()
    non_overlap_masks_for_mem_enc = _Flag[bool]()
    max_cond_frames_in_attn = _Flag[int]()
    memory_temporal_stride_for_eval = _Flag[int]()
    max_obj_ptrs_in_encoder = _Flag[int]()
    add_tpos_enc_to_obj_ptrs = _Flag[bool]()
    use_signed_tpos_enc_to_obj_ptrs = _Flag[bool]()
    only_obj_ptrs_in_the_past_for_eval = _Flag[bool]()
    soft_no_obj_ptr = _Flag[bool]()
    fill_hole_area = _Flag[int]()
    non_overlap_masks = _Flag[bool]()
    clear_non_cond_mem_around_input = _Flag[bool]()
    add_all_frames_to_correct_as_cond = _Flag[bool]()
    track_before_first_prompt = _Flag[bool]()

    def __init__(
        self,
        image_encoder: Any,
        memory_attention: Any = None,
        memory_encoder: Any = None,
        *,
        config: ModelConfig | None = None,
        behaviour: Behaviour | None = None,
        postprocessing: bool = True,
    ) -> None:
        if isinstance(image_encoder, SAM2Base):
            if any(part is not None for part in (memory_attention, memory_encoder, config, behaviour)):
                raise TypeError(f"{type(self).__name__}(model) takes no other parts, and no config or behaviour")
            self._share(image_encoder, postprocessing=postprocessing)
            return
        if config is None or behaviour is None:
            raise TypeError(
                f"{type(self).__name__} takes a model, or is made by its builder; got {type(image_encoder).__name__}"
            )
        super().__init__(image_encoder, memory_attention, memory_encoder, config=config, behaviour=behaviour)

    def _share(self, model: SAM2Base, *, postprocessing: bool) -> None:
        """Take over the parts of ``model``: not copies, so that moving or loading one of the two is both."""
        nn.Module.__init__(self)
        own = dict(vars(self))
        vars(self).update({name: value for name, value in vars(model).items() if name not in own})
        for shared in ("_parameters", "_buffers", "_modules"):
            vars(self)[shared] = vars(model)[shared]
        self.training = model.training
        if postprocessing:
            # The options about stability are the decoder's, which is shared: they stay as they are.
            official = with_postprocessing(model.behaviour, video=True)
            self.behaviour = replace(
                model.behaviour,
                binarize_mask_from_pts_for_mem_enc=official.binarize_mask_from_pts_for_mem_enc,
                fill_hole_area=official.fill_hole_area,
            )
