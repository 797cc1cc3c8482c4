"""The model: its parts, and the five verbs that images, videos and training are made of.

``encode_image`` -> (``fuse_memory`` or ``condition_on_nothing``) -> ``decode_masks`` -> ``select_mask`` ->
``encode_memory``.
The image predictor stops after ``decode_masks``: officially its masks are not gated by the object score, the tracker's
are. Nothing here remembers anything between calls.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.config import Behaviour, ModelConfig, check_image_size
from sam2.modeling.layers import MLP, match_dtype
from sam2.modeling.memory_attention import MemoryAttention
from sam2.modeling.memory_encoder import MemoryEncoder
from sam2.modeling.memory_tokens import MemoryTokens, assemble
from sam2.modeling.official_step import OfficialCalls
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from sam2.modeling.types import (
    LOW_RES_LIMIT,
    FrameMemory,
    ImageFeatures,
    MaskCandidates,
    MaskPrediction,
    MemoryContext,
    PromptBatch,
)

NO_OBJ_SCORE = -1024.0
"""The logit of every pixel of an absent object: far below anything the decoder gives."""

STRIDE = 16
"""Pixels of the input per cell of the embedding."""

# What mask prompts become as logits, so that a sigmoid gives 0 or 1.
MASK_LOGIT_SCALE, MASK_LOGIT_BIAS = 20.0, -10.0


class SAM2Base(OfficialCalls):
    """SAM 2 (arXiv 2408.00714) without any notion of time.

    Args:
        image_encoder, memory_attention, memory_encoder: the parts that ``build_model`` makes.
        config: what the weights look like.
        behaviour: what is done with them; see :class:`sam2.modeling.config.Behaviour`.
    """

    def __init__(
        self,
        image_encoder: ImageEncoder,
        memory_attention: MemoryAttention,
        memory_encoder: MemoryEncoder,
        *,
        config: ModelConfig,
        behaviour: Behaviour,
    ) -> None:
        super().__init__()
        c, d = config.d_model, config.memory.dim
        self.config = config
        self.behaviour = behaviour
        self.image_encoder = image_encoder
        self.memory_attention = memory_attention
        self.memory_encoder = memory_encoder
        self.num_feature_levels = 3
        self.hidden_dim = c
        self.mem_dim = d
        self.num_maskmem = config.memory.num_maskmem
        self.backbone_stride = STRIDE
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(self.num_maskmem, 1, 1, d))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, c))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, c))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, c))
        self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, d)) if config.no_obj_embed_spatial else None
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.sam_prompt_encoder = PromptEncoder(
            embed_dim=c,
            image_embedding_size=_square(config.image_size // STRIDE),
            input_image_size=_square(config.image_size),
            mask_in_chans=16,
            prompt_maps=config.decoder.prompt_maps,
        )
        self.sam_mask_decoder = MaskDecoder(
            transformer_dim=c,
            transformer=TwoWayTransformer(depth=2, embedding_dim=c, num_heads=8, mlp_dim=config.decoder.mlp_dim),
            iou_head_hidden_dim=256,
            dynamic_multimask_via_stability=behaviour.dynamic_multimask_via_stability,
            dynamic_multimask_stability_delta=behaviour.dynamic_multimask_stability_delta,
            dynamic_multimask_stability_thresh=behaviour.dynamic_multimask_stability_thresh,
            use_multimask_token_for_obj_ptr=behaviour.use_multimask_token_for_obj_ptr,
            fusion_layers=config.decoder.fusion_layers,
            smooth_upscaling=config.decoder.smooth_upscaling,
        )
        self.obj_ptr_proj = MLP(c, c, c, 3)
        self.obj_ptr_tpos_proj = nn.Linear(c, d) if config.proj_tpos_enc_in_obj_ptrs else nn.Identity()
        for embedding in (self.maskmem_tpos_enc, self.no_mem_embed, self.no_mem_pos_enc, self.no_obj_ptr):
            nn.init.trunc_normal_(embedding, std=0.02)
        if self.no_obj_embed_spatial is not None:
            nn.init.trunc_normal_(self.no_obj_embed_spatial, std=0.02)

    # ---- what callers ask about the model

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_mem_embed.device

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the model computes in, but for the parts that :meth:`cast_` leaves in float32."""
        return self.no_mem_embed.dtype

    @property
    def low_res_size(self) -> int:
        """Side of the mask logits, a quarter of the input."""
        return self.image_size // 4

    def set_image_size(self, image_size: int) -> None:
        """Take square input of another size; no weight depends on it."""
        check_image_size(image_size)
        self.config = replace(self.config, image_size=image_size)
        self.sam_prompt_encoder.set_image_size(_square(image_size), _square(image_size // STRIDE))

    def cast_(self, dtype: torch.dtype) -> "SAM2Base":
        """Compute in ``dtype``, in place.

        The prompt encoder stays in float32, where a coordinate keeps its bits, and so do the parts that a trunk names
        in ``float32_parts``.
        """
        self.to(dtype)
        self.sam_prompt_encoder.float()
        trunk = self.image_encoder.trunk
        precise: tuple[str, ...] = getattr(trunk, "float32_parts", ())
        for name in precise:
            trunk.get_submodule(name).float()
        return self

    def forward(self, *args: object, **kwargs: object) -> None:
        """Not defined: a SAM 2 has no single forward. Use the verbs or a predictor."""
        raise NotImplementedError("call SAM2ImagePredictor, or the verbs encode_image, decode_masks, ... of this model")

    # ---- the five verbs

    def encode_image(self, pixels: Float[Tensor, "b 3 s s"]) -> ImageFeatures:
        """Normalised pixels, square and of a multiple of 32, to features in the weights' dtype."""
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3] or pixels.shape[2] % 32:
            raise ValueError(f"pixels must be [B, 3, S, S] with S a multiple of 32, got {tuple(pixels.shape)}")
        fine, middle, embed = self.network(self.image_encoder.pyramid, self.as_input(pixels))
        decoder = self.sam_mask_decoder
        position = self.image_encoder.neck.position_encoding.table(embed.shape[-2], embed.shape[-1], embed.device)
        return ImageFeatures(embed, (decoder.conv_s0(fine), decoder.conv_s1(middle)), position)

    def condition_on_nothing(self, embed: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The embedding to decode from where there is no memory: a still image, or the first frame."""
        return embed + self.no_mem_embed.reshape(1, -1, 1, 1)

    def fuse_memory(self, features: ImageFeatures, context: MemoryContext) -> Float[Tensor, "n c h w"]:
        """The embedding conditioned on each object's memory; one row of features serves all n objects."""
        memory = self.memory_tokens(context)
        embed, position = features.embed.to(memory.tokens.dtype), features.position.to(memory.tokens.dtype)
        return self.network(
            self.memory_attention.on_maps,
            embed,
            position,
            memory.tokens,
            memory.position,
            memory.num_pooled_tokens,
            memory.num_pointer_tokens,
            memory.mask,
        )

    def decode_masks(
        self,
        embed: Float[Tensor, "b c h w"],
        high_res: tuple[Tensor, Tensor],
        prompts: PromptBatch,
        *,
        multimask: bool,
        prompt_hints: bool = True,
        min_iou: float | None = None,
    ) -> MaskCandidates:
        """Candidate masks of n objects.

        Args:
            embed: conditioned embeddings, n rows, or one that all prompts share.
            high_res: ``ImageFeatures.high_res``, rows as ``embed``.
            multimask: three candidates, or one (the stable or best one where the behaviour says so, in evaluation).
            prompt_hints: use the high-resolution part of drawn prompts, where the model draws them.
            min_iou: where given, objects without a candidate that is predicted to be better need not be drawn: their
                logits are then -1024.
        """
        prompts = self._with_fitting_masks(prompts)
        encoded = self.sam_prompt_encoder.encode(prompts, hints=prompt_hints)
        if encoded.hints is not None:
            (fine, middle), (fine_hint, middle_hint) = high_res, encoded.hints
            high_res = (fine + fine_hint.to(fine.dtype), middle + middle_hint.to(middle.dtype))
        decoder = self.sam_mask_decoder
        grid = self.sam_prompt_encoder.get_dense_pe()
        raw = self.network(decoder.predict_masks, embed, grid, encoded.sparse, encoded.dense, high_res, min_iou)
        dynamic = decoder.dynamic_multimask_via_stability and not self.training
        logits, ious = decoder.choose(raw, multimask=multimask, dynamic=dynamic)
        tokens = decoder.pointer_tokens(raw, multimask=multimask)
        return MaskCandidates(logits.float(), ious.float(), tokens, raw.object_score.float())

    def answer_prompts(
        self,
        embed: Float[Tensor, "b c h w"],
        high_res: tuple[Tensor, Tensor],
        prompts: PromptBatch,
        *,
        multimask: bool,
        min_iou: float | None = None,
    ) -> MaskCandidates:
        """What a user's prompts get: :meth:`decode_masks`, whose arguments these are, once or twice.

        Where the behaviour takes a second look, a prompt that brings no mask and asks for one gets a first mask to be
        looked at again with.
        """
        if self.behaviour.second_look and not multimask and prompts.masks is None:
            first = self.decode_masks(embed, high_res, prompts, multimask=False)
            row = torch.arange(len(first.logits), device=first.logits.device)
            sketch = first.logits[row, first.ious.argmax(-1)][:, None]
            prompts = replace(prompts, masks=sketch.clamp(-LOW_RES_LIMIT, LOW_RES_LIMIT))
        return self.decode_masks(embed, high_res, prompts, multimask=multimask, min_iou=min_iou)

    def select_mask(self, candidates: MaskCandidates) -> MaskPrediction:
        """Gate candidates by the object score, take the best by predicted IoU, and make the object pointer."""
        present = candidates.object_score > 0
        logits = torch.where(present[:, :, None, None], candidates.logits, NO_OBJ_SCORE)
        row = torch.arange(len(logits), device=logits.device)
        best = candidates.ious.argmax(dim=-1)
        chosen = logits[row, best][:, None]
        token = candidates.tokens[row, best if candidates.tokens.shape[1] > 1 else torch.zeros_like(best)]
        pointer = self._pointer(token, candidates.object_score)
        return MaskPrediction(
            logits=chosen,
            high_res_logits=F.interpolate(chosen, size=(self.image_size,) * 2, mode="bilinear", align_corners=False),
            iou=candidates.ious[row, best][:, None],
            pointer=pointer,
            object_score=candidates.object_score,
            candidates=logits,
            candidate_ious=candidates.ious,
        )

    def mask_as_prediction(self, features: ImageFeatures, masks: Float[Tensor, "n 1 s s"]) -> MaskPrediction:
        """Take given masks (0..1, at the input's size) as the prediction; stands in for fuse, decode and select.

        The pointer comes from a decoder run on the raw embedding with the mask as prompt, as officially.
        """
        n = len(masks)
        high_res_logits = masks.float() * MASK_LOGIT_SCALE + MASK_LOGIT_BIAS
        logits = F.interpolate(
            high_res_logits, size=(self.low_res_size,) * 2, mode="bilinear", align_corners=False, antialias=True
        )
        empty = PromptBatch.empty(n, self.device)
        prompt = self.mask_downsample(masks.to(self.mask_downsample.weight.dtype))
        candidates = self.decode_masks(features.embed, features.high_res, replace(empty, masks=prompt), multimask=False)
        present = (masks.flatten(1) > 0).any(dim=1, keepdim=True).float()
        pointer = self._gate_pointer(self._pointer(candidates.tokens[:, 0], candidates.object_score), present)
        ones = torch.ones(n, 1, device=logits.device)
        return MaskPrediction(
            logits=logits,
            high_res_logits=high_res_logits,
            iou=ones,
            pointer=pointer,
            object_score=present * MASK_LOGIT_SCALE + MASK_LOGIT_BIAS,
            candidates=logits,
            candidate_ious=ones,
        )

    def encode_memory(
        self,
        features: ImageFeatures,
        prediction: MaskPrediction,
        *,
        prompted: bool,
        dtype: torch.dtype = torch.bfloat16,
    ) -> FrameMemory:
        """What to keep of this frame. Reads the embedding that is *not* conditioned on memory, as officially.

        Args:
            prompted: the user gave points or a mask on this frame; its mask is then binarised where the behaviour
                says so.
            dtype: how the memory is stored; the official implementation stores bfloat16 in every precision.
        """
        behaviour = self.behaviour
        logits = prediction.high_res_logits
        if behaviour.non_overlap_masks_for_mem_enc:
            logits = suppress_overlaps(logits)
        binarize = prompted and behaviour.binarize_mask_from_pts_for_mem_enc
        mask = (logits > 0).float() if binarize else logits.sigmoid()
        mask = mask * behaviour.sigmoid_scale_for_mem_enc + behaviour.sigmoid_bias_for_mem_enc
        embed = features.embed.expand(len(mask), -1, -1, -1)
        memory = self.network(self.memory_encoder, embed, mask, True)["vision_features"]  # mask went through a sigmoid
        if self.no_obj_embed_spatial is not None:
            absent = (prediction.object_score <= 0).to(memory.dtype)[:, :, None, None]
            memory = memory + absent * self.no_obj_embed_spatial[:, :, None, None]
        return FrameMemory(memory.to(dtype), prediction.pointer, prediction.object_score)

    # ---- small steps

    def network(self, part: Callable[..., Any], *args: Any) -> Any:
        """Call a part that does the work of a verb: the one place where a subclass can run it in another way."""
        return part(*args)

    def memory_tokens(self, context: MemoryContext) -> MemoryTokens:
        """The past as memory attention reads it."""
        return assemble(
            context,
            time_codes=self.maskmem_tpos_enc,
            position_encoding=self.memory_encoder.position_encoding,
            pointer_projection=self.obj_ptr_tpos_proj if self.behaviour.add_tpos_enc_to_obj_ptrs else None,
            pool_recent=self.behaviour.pool_recent_memory,
        )

    def as_input(self, pixels: Tensor) -> Tensor:
        """Pixels in the dtype of the image encoder, channels last in memory."""
        weight = next(self.image_encoder.parameters())
        return pixels.to(weight.dtype).contiguous(memory_format=torch.channels_last)

    def _with_fitting_masks(self, prompts: PromptBatch) -> PromptBatch:
        size = self.sam_prompt_encoder.mask_input_size
        if prompts.masks is None or prompts.masks.shape[-2:] == size:
            return prompts
        fitting = F.interpolate(prompts.masks.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        return replace(prompts, masks=fitting)

    def _pointer(self, token: Tensor, object_score: Tensor) -> Tensor:
        pointer = self.obj_ptr_proj(match_dtype(token, self.obj_ptr_proj))
        if self.behaviour.soft_no_obj_ptr:
            return self._gate_pointer(pointer, object_score.sigmoid())
        return self._gate_pointer(pointer, (object_score > 0).float())

    def _gate_pointer(self, pointer: Tensor, present: Tensor) -> Tensor:
        present = present.to(pointer.dtype)
        return present * pointer + (1 - present) * self.no_obj_ptr


def _square(side: int) -> tuple[int, int]:
    return side, side


def suppress_overlaps(logits: Tensor) -> Tensor:
    """Keep each pixel for the object [n, 1, h, w] with the highest logit there; the others get at most -10."""
    if len(logits) == 1:
        return logits
    winner = logits.argmax(dim=0, keepdim=True)
    index = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return torch.where(winner == index, logits, logits.clamp(max=-10.0))
