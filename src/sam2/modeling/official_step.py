"""Official methods of the model that users' code calls: dicts and flattened maps over the five verbs.

Thin adaptors. The predictors of this package use none of them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from sam2.modeling.backbones.image_encoder import BackboneOutput
from sam2.modeling.memory_selection import MemorySelection, select_memories
from sam2.modeling.types import ImageFeatures, MaskPrediction, MemoryContext, PromptBatch

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

Frames = Mapping[int, Mapping[str, Any]]


class OfficialCalls(nn.Module):
    """What :class:`sam2.modeling.sam2_base.SAM2Base` offers by official names."""

    def forward_image(self, img_batch: Tensor) -> BackboneOutput:
        """Normalised pixels [B, 3, S, S] to the official dict; its two finest levels are projected for the decoder."""
        model = cast("SAM2Base", self)
        output = model.image_encoder(model.as_input(img_batch))
        output["backbone_fpn"][0] = model.sam_mask_decoder.conv_s0(output["backbone_fpn"][0])
        output["backbone_fpn"][1] = model.sam_mask_decoder.conv_s1(output["backbone_fpn"][1])
        return output

    def track_step(
        self,
        frame_idx: int,
        is_init_cond_frame: bool,
        current_vision_feats: Sequence[Tensor],
        current_vision_pos_embeds: Sequence[Tensor],
        feat_sizes: Sequence[tuple[int, int]],
        point_inputs: Mapping[str, Tensor] | None,
        mask_inputs: Tensor | None,
        output_dict: Mapping[str, Any],
        num_frames: int,
        track_in_reverse: bool = False,
        run_mem_encoder: bool = True,
        prev_sam_mask_logits: Tensor | None = None,
    ) -> dict[str, Any]:
        """One frame by the official rules, for code that keeps its own ``output_dict``.

        Args:
            frame_idx: index of the frame; distances to memories follow from it.
            is_init_cond_frame: read no memory.
            current_vision_feats, current_vision_pos_embeds, feat_sizes: from ``_prepare_backbone_features``.
            point_inputs: ``{"point_coords": [n, p, 2], "point_labels": [n, p]}`` in pixels of the model's input.
            mask_inputs: [n, 1, S, S] 0 or 1, taken as the answer.
            output_dict: ``{"cond_frame_outputs": {frame: dict}, "non_cond_frame_outputs": {frame: dict}}`` of earlier
                calls; may be empty where ``is_init_cond_frame``.
            num_frames: length of the video; at least 16 in a stream.
            prev_sam_mask_logits: [n, 1, S/4, S/4], a mask to be corrected by the points.

        Returns:
            ``pred_masks`` [n, 1, S/4, S/4], ``pred_masks_high_res`` [n, 1, S, S], ``obj_ptr`` [n, C],
            ``object_score_logits`` [n, 1], and ``maskmem_features``, ``maskmem_pos_enc`` (None unless
            ``run_mem_encoder``).
        """
        if point_inputs is not None and mask_inputs is not None:
            raise ValueError("give point_inputs or mask_inputs, got both")
        model = cast("SAM2Base", self)
        features = _features_of(current_vision_feats, current_vision_pos_embeds, feat_sizes)
        context = None
        if not is_init_cond_frame:
            context = _context_of(model, output_dict, frame_idx, num_frames=num_frames, reverse=track_in_reverse)
        prediction = _predict(
            model,
            features,
            point_inputs=point_inputs,
            mask_inputs=mask_inputs,
            context=context,
            is_init_cond_frame=is_init_cond_frame,
            earlier=prev_sam_mask_logits,
        )
        return _as_official(
            model,
            prediction,
            features,
            point_inputs=point_inputs,
            mask_inputs=mask_inputs,
            run_mem_encoder=run_mem_encoder,
        )

    def _prepare_backbone_features(
        self, backbone_out: BackboneOutput
    ) -> tuple[BackboneOutput, list[Tensor], list[Tensor], list[tuple[int, int]]]:
        """The official flattening: maps and codes as [H * W, B, C], and their sizes."""
        levels = cast("SAM2Base", self).num_feature_levels
        maps = backbone_out["backbone_fpn"][-levels:]
        codes = backbone_out["vision_pos_enc"][-levels:]
        sizes = [(code.shape[-2], code.shape[-1]) for code in codes]
        flat_maps = [x.flatten(2).permute(2, 0, 1) for x in maps]
        flat_codes = [x.flatten(2).permute(2, 0, 1) for x in codes]
        return backbone_out, flat_maps, flat_codes, sizes


def _features_of(feats: Sequence[Tensor], codes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> ImageFeatures:
    """Flattened maps [H * W, B, C] and their position codes, as ``_prepare_backbone_features`` gives them."""
    maps = [x.permute(1, 2, 0).reshape(x.shape[1], x.shape[2], *size) for x, size in zip(feats, sizes, strict=True)]
    code = codes[-1][:, :1].permute(1, 2, 0).reshape(1, codes[-1].shape[2], *sizes[-1])
    return ImageFeatures(maps[-1], (maps[0], maps[1]), code)


def _predict(
    model: "SAM2Base",
    features: ImageFeatures,
    *,
    point_inputs: Mapping[str, Tensor] | None,
    mask_inputs: Tensor | None,
    context: MemoryContext | None,
    is_init_cond_frame: bool,
    earlier: Tensor | None,
) -> MaskPrediction:
    """Masks of the frame, by the rules of the official step."""
    if mask_inputs is not None:
        return model.mask_as_prediction(features, mask_inputs)
    n = len(features)
    embed = features.embed
    embed = model.condition_on_nothing(embed) if context is None else model.fuse_memory(features, context)
    prompts = PromptBatch.empty(n, embed.device)
    if point_inputs is not None:
        prompts = PromptBatch(point_inputs["point_coords"], point_inputs["point_labels"].to(torch.int32))
    num_points = 0 if point_inputs is None else prompts.num_points
    prompts = PromptBatch(prompts.points, prompts.labels, earlier)
    multimask = model.behaviour.proposes_several(num_points, is_first=is_init_cond_frame)
    ask = model.decode_masks if point_inputs is None else model.answer_prompts
    return model.select_mask(ask(embed, features.high_res, prompts, multimask=multimask))


def _context_of(
    model: "SAM2Base", output_dict: Mapping[str, Frames], frame_idx: int, *, num_frames: int, reverse: bool
) -> MemoryContext | None:
    """What the official dict of past outputs holds for ``frame_idx``; None where it holds nothing to attend to."""
    prompted = output_dict.get("cond_frame_outputs", {})
    tracked = output_dict.get("non_cond_frame_outputs", {})
    selection = select_memories(
        frame_idx,
        list(prompted),
        tracked.__contains__,
        behaviour=model.behaviour,
        num_maskmem=model.num_maskmem,
        num_frames=num_frames,
        reverse=reverse,
    )
    past = {**tracked, **prompted}
    # Officially a frame whose memory was not encoded is passed over.
    kept = tuple((t, slot) for t, slot in selection.memories if past[t].get("maskmem_features") is not None)
    if not kept:
        return None
    selection = MemorySelection(kept, selection.pointers, selection.max_pointers)
    device = model.device
    memories = torch.stack([past[t]["maskmem_features"].to(device) for t, _ in kept], dim=1)
    n = len(memories)
    if selection.pointers:
        pointers = torch.stack([past[t]["obj_ptr"].to(device) for t, _ in selection.pointers], dim=1)
    else:
        pointers = torch.zeros(n, 0, model.hidden_dim, device=device, dtype=model.compute_dtype)
    distances = torch.tensor([float(d) for _, d in selection.pointers], device=device).expand(n, -1)
    return MemoryContext(memories, selection.slots, pointers, distances, selection.max_pointers)


def _as_official(
    model: "SAM2Base",
    prediction: MaskPrediction,
    features: ImageFeatures,
    *,
    point_inputs: Mapping[str, Tensor] | None,
    mask_inputs: Tensor | None,
    run_mem_encoder: bool,
) -> dict[str, Any]:
    """The official dict of one frame's outputs."""
    output: dict[str, Any] = {
        "point_inputs": point_inputs,
        "mask_inputs": mask_inputs,
        "pred_masks": prediction.logits,
        "pred_masks_high_res": prediction.high_res_logits,
        "obj_ptr": prediction.pointer,
        "object_score_logits": prediction.object_score,
        "maskmem_features": None,
        "maskmem_pos_enc": None,
    }
    if run_mem_encoder and model.num_maskmem > 0:
        # Officially points mark a frame as prompted here, masks do not.
        # It is the official predictor that stores memories in bfloat16: a caller of the step gets them as they are.
        memory = model.encode_memory(features, prediction, prompted=point_inputs is not None, dtype=model.compute_dtype)
        h, w = memory.features.shape[-2:]
        code = model.memory_encoder.position_encoding.table(h, w, memory.features.device)
        output["maskmem_features"] = memory.features
        output["maskmem_pos_enc"] = [code.expand(len(memory.features), -1, -1, -1)]
    return output
