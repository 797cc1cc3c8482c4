"""What a SAM 2 is made of (``ModelConfig``) and how it behaves (``Behaviour``), with the presets.

Two records, by one rule: a number that shapes weights is architecture, a number that only changes what is
computed with them is behaviour. The YAML files of ``sam2/configs`` are parsed into these and compared with
these; nothing else in the package reads YAML.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

SIZE_MULTIPLE = 32
MIN_IMAGE_SIZE = 256
MAX_IMAGE_SIZE = 2048

Version = Literal["2", "2.1", "nano", "custom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HieraConfig:
    """The hierarchical vision transformer of SAM 2 (defaults are those of the official class, i.e. base-plus)."""

    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...] = (2, 3, 16, 3)
    global_att_blocks: tuple[int, ...] = (12, 16, 20)
    window_spec: tuple[int, ...] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (14, 14)
    q_pool: int = 3
    drop_path_rate: float = 0.0

    def __post_init__(self) -> None:
        if len(self.window_spec) != len(self.stages):
            raise ValueError(
                f"window_spec has {len(self.window_spec)} entries for {len(self.stages)} stages: {self.window_spec}"
            )
        last = sum(self.stages) - 1
        if any(not 0 <= block <= last for block in self.global_att_blocks):
            raise ValueError(f"global_att_blocks must lie in 0..{last}, got {self.global_att_blocks}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each stage, fine to coarse."""
        return tuple(self.embed_dim * 2**i for i in range(len(self.stages)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetLiteConfig:
    """The convolutional trunk of ``nano``: EfficientNet-Lite without its head, batch norms folded."""

    width: float = 1.0
    depth: float = 1.0

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels at strides 4, 8, 16 and 32."""
        return tuple(max(8, int(c * self.width + 4) // 8 * 8) for c in (24, 40, 112, 320))


TrunkConfig = HieraConfig | EfficientNetLiteConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Sizes of the prompt encoder and mask decoder; the last three are off in every official model.

    Attributes:
        mlp_dim: hidden width of the two-way transformer's MLP.
        prompt_maps: also draw prompts as dense maps and add them at strides 16, 8 and 4 (the input encoding of
            the interactive-segmentation literature, e.g. RITM, arXiv 2102.06583).
        fusion_layers: ConvNeXt blocks over image + dense prompt before the two-way transformer.
        smooth_upscaling: a residual 3 x 3 convolution after each upscaling step.
    """

    mlp_dim: int = 2048
    prompt_maps: bool = False
    fusion_layers: int = 0
    smooth_upscaling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Sizes of the memory attention and the memory encoder."""

    dim: int = 64
    num_layers: int = 4
    dim_feedforward: int = 2048
    rope_theta: float = 10000.0
    dropout: float = 0.1
    num_maskmem: int = 7
    fuser_layers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything that decides the names and shapes of a model's weights.

    Attributes:
        name: what to call the model in messages, e.g. ``"SAM 2.1 tiny"``.
        image_size: side of the square input in pixels, a multiple of 32 in 256..2048.
        d_model: channels of the image embedding (C).
        fpn_top_down_levels: pyramid levels (0 = stride 4) that receive the level above.
        no_obj_embed_spatial, proj_tpos_enc_in_obj_ptrs: the two flags that add weights in SAM 2.1.
    """

    name: str
    version: Version
    trunk: TrunkConfig
    image_size: int = 1024
    d_model: int = 256
    fpn_top_down_levels: tuple[int, ...] = (2, 3)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    no_obj_embed_spatial: bool = True
    proj_tpos_enc_in_obj_ptrs: bool = True

    def __post_init__(self) -> None:
        check_image_size(self.image_size)

    @property
    def backbone_channel_list(self) -> tuple[int, ...]:
        """Trunk channels, coarse first, as the neck expects them."""
        return self.trunk.channels[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What can be changed without touching a weight. Names are the official constructor flags.

    Defaults are those of the official SAM 2.1 configurations with ``apply_postprocessing=False``, save
    ``add_all_frames_to_correct_as_cond``, on here because off loses users' corrections, and
    ``track_before_first_prompt``, which officially has no name and is always on: an object then gets masks on frames
    that come before its first prompt in the direction of travel, from memory of the future.

    ``second_look`` has no official name either, and is off in every official configuration: a prompt that asks for one
    mask and brings none is answered twice, the second time with the first answer as its mask. The bundled model gains
    by it. Nor has ``pool_recent_memory``, off as well: memories of tracked frames are read at half their resolution,
    those of prompted frames in full, as in EfficientTAM (arXiv 2411.18933), which pools all.
    """

    # mask decoder
    multimask_output_in_sam: bool = True
    multimask_min_pt_num: int = 0
    multimask_max_pt_num: int = 1
    multimask_output_for_tracking: bool = True
    use_multimask_token_for_obj_ptr: bool = True
    dynamic_multimask_via_stability: bool = False
    dynamic_multimask_stability_delta: float = 0.05
    dynamic_multimask_stability_thresh: float = 0.98
    second_look: bool = False
    # memory
    sigmoid_scale_for_mem_enc: float = 20.0
    sigmoid_bias_for_mem_enc: float = -10.0
    binarize_mask_from_pts_for_mem_enc: bool = False
    non_overlap_masks_for_mem_enc: bool = False
    pool_recent_memory: bool = False
    max_cond_frames_in_attn: int = -1
    memory_temporal_stride_for_eval: int = 1
    # object pointers
    max_obj_ptrs_in_encoder: int = 16
    add_tpos_enc_to_obj_ptrs: bool = True
    use_signed_tpos_enc_to_obj_ptrs: bool = True
    only_obj_ptrs_in_the_past_for_eval: bool = True
    soft_no_obj_ptr: bool = False
    # video predictor
    fill_hole_area: int = 0
    non_overlap_masks: bool = False
    clear_non_cond_mem_around_input: bool = False
    add_all_frames_to_correct_as_cond: bool = True
    track_before_first_prompt: bool = False

    def proposes_several(self, num_points: int, *, is_first: bool) -> bool:
        """Whether the decoder proposes three masks: by default for no point or one, a box counting as two.

        Args:
            is_first: the frame was not tracked before, so that the prompt stands alone.
        """
        allowed = self.multimask_output_in_sam and (is_first or self.multimask_output_for_tracking)
        return allowed and self.multimask_min_pt_num <= num_points <= self.multimask_max_pt_num


SAM2_0_BEHAVIOUR = Behaviour(add_tpos_enc_to_obj_ptrs=False, use_signed_tpos_enc_to_obj_ptrs=False)
SAM2_1_BEHAVIOUR = Behaviour()
NANO_BEHAVIOUR = Behaviour(second_look=True, pool_recent_memory=True)


def check_image_size(image_size: int) -> None:
    """Raise ``ValueError`` unless ``image_size`` is a multiple of 32 in 256..2048."""
    whole = type(image_size) is int  # not a bool, not 512.0
    if not whole or image_size % SIZE_MULTIPLE or not MIN_IMAGE_SIZE <= image_size <= MAX_IMAGE_SIZE:
        raise ValueError(
            f"image_size must be a multiple of {SIZE_MULTIPLE} in {MIN_IMAGE_SIZE}..{MAX_IMAGE_SIZE}, "
            f"got {image_size!r}"
        )


_HIERA = {
    "tiny": HieraConfig(
        embed_dim=96,
        num_heads=1,
        stages=(1, 2, 7, 2),
        global_att_blocks=(5, 7, 9),
        window_pos_embed_bkg_spatial_size=(7, 7),
    ),
    "small": HieraConfig(
        embed_dim=96,
        num_heads=1,
        stages=(1, 2, 11, 2),
        global_att_blocks=(7, 10, 13),
        window_pos_embed_bkg_spatial_size=(7, 7),
    ),
    "base_plus": HieraConfig(embed_dim=112, num_heads=2),
    "large": HieraConfig(
        embed_dim=144,
        num_heads=2,
        stages=(2, 6, 36, 4),
        global_att_blocks=(23, 33, 43),
        window_spec=(8, 4, 16, 8),
        window_pos_embed_bkg_spatial_size=(7, 7),
    ),
}


def _official(size: str, version: Literal["2", "2.1"]) -> ModelConfig:
    is_21 = version == "2.1"
    return ModelConfig(
        name=f"SAM {version} {size.replace('_', '-')}",
        version=version,
        trunk=_HIERA[size],
        no_obj_embed_spatial=is_21,
        proj_tpos_enc_in_obj_ptrs=is_21,
    )


NANO = ModelConfig(
    name="SAM 2 nano",
    version="nano",
    trunk=EfficientNetLiteConfig(),
    image_size=512,
    d_model=128,
    fpn_top_down_levels=(0, 1, 2, 3),
    decoder=DecoderConfig(mlp_dim=512, prompt_maps=True, fusion_layers=3, smooth_upscaling=True),
    memory=MemoryConfig(num_layers=2, dim_feedforward=512),
)

PRESETS: dict[str, ModelConfig] = {
    **{f"sam2_hiera_{size}": _official(size, "2") for size in _HIERA},
    **{f"sam2.1_hiera_{size}": _official(size, "2.1") for size in _HIERA},
    "nano": NANO,
}
"""Every model the project knows by name: ``sam2_hiera_tiny`` ... ``sam2.1_hiera_large`` and ``nano``."""


def default_behaviour(config: ModelConfig) -> Behaviour:
    """The behaviour that ``config``'s weights were trained with."""
    return {"2": SAM2_0_BEHAVIOUR, "nano": NANO_BEHAVIOUR}.get(config.version, SAM2_1_BEHAVIOUR)


def with_postprocessing(behaviour: Behaviour, *, video: bool) -> Behaviour:
    """``behaviour`` with what the official builders add for ``apply_postprocessing=True``."""
    changed = replace(
        behaviour,
        dynamic_multimask_via_stability=True,
        dynamic_multimask_stability_delta=0.05,
        dynamic_multimask_stability_thresh=0.98,
    )
    if video:
        changed = replace(changed, binarize_mask_from_pts_for_mem_enc=True, fill_hole_area=8)
    return changed
