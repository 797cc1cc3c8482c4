"""Image embedding and prompt embeddings to masks, with a predicted IoU each and one object score."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam2.modeling.layers import MLP, Activation, CXBlock, LayerNorm2d
from sam2.modeling.sam.transformer import TwoWayTransformer

UNDRAWN = -1024.0
"""Logits of a mask that nobody has asked to see."""


@dataclass(frozen=True, slots=True)
class RawMasks:
    """Everything the decoder computes for n objects: mask 0 is the single mask, 1..m the three of an ambiguous prompt.

    Attributes:
        logits: [n, 1 + m, 4h, 4w].
        ious: [n, 1 + m].
        tokens: [n, 1 + m, c].
        object_score: [n, 1].
    """

    logits: Tensor
    ious: Tensor
    tokens: Tensor
    object_score: Tensor


def upscale_2x(x: Tensor, conv: nn.ConvTranspose2d) -> Tensor:
    """A 2 x 2 transposed convolution of stride 2 on [B, H, W, C], as the matrix product that it is.

    Small transposed convolutions fall off the fast path on CPUs, in bfloat16 by an order of magnitude.
    """
    b, h, w, _ = x.shape
    weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if conv.bias is None else conv.bias.repeat(4)
    cells = F.linear(x, weight, bias).view(b, h, w, 2, 2, -1)
    return cells.transpose(2, 3).reshape(b, 2 * h, 2 * w, -1)


class MaskDecoder(nn.Module):
    """SAM's mask decoder with the high-resolution features and the object score of SAM 2.

    Every released model has high-resolution features, an MLP for the object score and a sigmoid on the IoU: these are
    not options here. ``fusion_layers`` and ``smooth_upscaling`` are described in ``DecoderConfig``; off officially.
    """

    def __init__(
        self,
        *,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
        activation: Activation = nn.GELU,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
        dynamic_multimask_via_stability: bool = False,
        dynamic_multimask_stability_delta: float = 0.05,
        dynamic_multimask_stability_thresh: float = 0.98,
        use_multimask_token_for_obj_ptr: bool = True,
        fusion_layers: int = 0,
        smooth_upscaling: bool = False,
    ) -> None:
        super().__init__()
        c = transformer_dim
        self.transformer_dim = c
        self.transformer = transformer
        self.num_multimask_outputs = num_multimask_outputs
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, c)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, c)
        self.obj_score_token = nn.Embedding(1, c)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(c, c // 4, kernel_size=2, stride=2),
            LayerNorm2d(c // 4),
            activation(),
            nn.ConvTranspose2d(c // 4, c // 8, kernel_size=2, stride=2),
            activation(),
        )
        self.conv_s0 = nn.Conv2d(c, c // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(c, c // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(c, c, c // 8, 3) for _ in range(self.num_mask_tokens))
        self.iou_prediction_head = MLP(
            c, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth, sigmoid_output=True
        )
        self.pred_obj_score_head = MLP(c, c, 1, 3)
        self.dynamic_multimask_via_stability = dynamic_multimask_via_stability
        self.dynamic_multimask_stability_delta = dynamic_multimask_stability_delta
        self.dynamic_multimask_stability_thresh = dynamic_multimask_stability_thresh
        self.use_multimask_token_for_obj_ptr = use_multimask_token_for_obj_ptr
        self.fusion = nn.Sequential(*(CXBlock(c, layer_scale_init_value=0.1) for _ in range(fusion_layers)))
        self.smooth = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for width in ((c // 4, c // 8) if smooth_upscaling else ())
        )

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
        repeat_image: bool,
        high_res_features: list[Tensor] | tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The official call.

        Args:
            image_embeddings: [b, C, h, w]; one row is repeated over the prompts where ``repeat_image`` is set.
            image_pe: [1, C, h, w].
            sparse_prompt_embeddings: [n, t, C].
            dense_prompt_embeddings: [n, C, h, w].
            multimask_output: three masks for an ambiguous prompt, or one.
            high_res_features: maps at strides 4 and 8, as ``forward_image`` returns them. Required.

        Returns:
            Mask logits [n, m, 4h, 4w], predicted IoUs [n, m], object-pointer tokens [n, m or 1, C] and object
            scores [n, 1].

        As officially, the stability fallback for single masks acts in evaluation mode only.
        """
        if not repeat_image and len(image_embeddings) != len(sparse_prompt_embeddings):
            raise ValueError(
                f"image_embeddings has {len(image_embeddings)} rows for {len(sparse_prompt_embeddings)} prompts; "
                "set repeat_image=True to share one image"
            )
        if high_res_features is None:
            raise ValueError("high_res_features is required: pass the two maps of forward_image or the predictor")
        raw = self.predict_masks(
            image_embeddings,
            image_pe,
            sparse_prompt_embeddings,
            dense_prompt_embeddings,
            (high_res_features[0], high_res_features[1]),
        )
        dynamic = self.dynamic_multimask_via_stability and not self.training
        masks, ious = self.choose(raw, multimask=multimask_output, dynamic=dynamic)
        return masks, ious, self.pointer_tokens(raw, multimask=multimask_output), raw.object_score

    def choose(self, raw: RawMasks, *, multimask: bool, dynamic: bool) -> tuple[Tensor, Tensor]:
        """Logits and IoUs to return: three masks, the single one, or (``dynamic``) the single one if it is stable."""
        if multimask:
            return raw.logits[:, 1:], raw.ious[:, 1:]
        if dynamic:
            return self._stable_or_best(raw.logits, raw.ious)
        return raw.logits[:, :1], raw.ious[:, :1]

    def pointer_tokens(self, raw: RawMasks, *, multimask: bool) -> Tensor:
        """Tokens that object pointers are made of; token 0 even where the stability fallback chose another mask."""
        if multimask and self.use_multimask_token_for_obj_ptr:
            return raw.tokens[:, 1:]
        return raw.tokens[:, :1]

    def predict_masks(
        self,
        embed: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor],
        min_iou: float | None = None,
    ) -> RawMasks:
        """All masks for n prompts; image maps have n rows, or one that the prompts share.

        With ``min_iou``, objects none of whose masks are predicted to be better are not drawn: most of the work of a
        mask is in its pixels, and the IoU is known before. Their logits are ``UNDRAWN``. (This waits for the device.)
        """
        n, (h, w) = len(sparse), embed.shape[-2:]
        if dense.stride(0) == 0:
            dense = dense[:1]  # expanded: without masks, all prompts see one image
        dtype = self.iou_token.weight.dtype
        sparse, image_pe = sparse.to(dtype), image_pe.to(dtype)
        own = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(n, -1, -1).to(dtype), sparse), dim=1)
        source = self.fusion(embed.to(dtype) + dense.to(dtype))
        hidden, image_tokens = self.transformer(source, image_pe, tokens)
        mask_tokens = hidden[:, 2 : 2 + self.num_mask_tokens]
        image_tokens = image_tokens.reshape(n, h, w, -1)
        ious = self.iou_prediction_head(hidden[:, 1])
        if min_iou is None:
            logits = self._draw(image_tokens, mask_tokens, high_res)
        else:
            rows = (ious > min_iou).any(dim=1).nonzero().flatten()
            logits = image_tokens.new_full((n, self.num_mask_tokens, 4 * h, 4 * w), UNDRAWN)
            own_maps = tuple(level if len(level) == 1 else level[rows] for level in high_res)
            if len(rows):
                logits[rows] = self._draw(image_tokens[rows], mask_tokens[rows], (own_maps[0], own_maps[1]))
        return RawMasks(logits, ious, mask_tokens, self.pred_obj_score_head(hidden[:, 0]))

    def _draw(self, image_tokens: Tensor, mask_tokens: Tensor, high_res: tuple[Tensor, Tensor]) -> Tensor:
        """Logits [n, 1 + m, 4h, 4w] of image tokens [n, h, w, C] and mask tokens [n, 1 + m, C]."""
        fine = self._upscale(image_tokens, high_res)
        kernels = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits: Tensor = kernels @ fine.flatten(1, 2).transpose(1, 2)
        return logits.view(*logits.shape[:2], *fine.shape[1:3])

    def _upscale(self, x: Tensor, high_res: tuple[Tensor, Tensor]) -> Tensor:
        """[n, h, w, C] -> [n, 4h, 4w, C/8], adding the high-resolution maps on the way."""
        first, norm, act, second, last_act = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        fine, middle = (level.to(x.dtype).permute(0, 2, 3, 1) for level in high_res)
        x = upscale_2x(x, first) + middle
        x = act(norm(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        x = self._smoothed(x, 0)
        x = last_act(upscale_2x(x, second) + fine)
        return self._smoothed(x, 1)

    def _smoothed(self, x: Tensor, step: int) -> Tensor:
        if not self.smooth:
            return x
        return x + F.gelu(self.smooth[step](x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)

    def _stable_or_best(self, logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """The single mask where it is stable, else the best of the others by predicted IoU, with that IoU."""
        best = ious[:, 1:].argmax(dim=-1) + 1
        row = torch.arange(len(ious), device=ious.device)
        delta = self.dynamic_multimask_stability_delta
        single = logits[:, 0].flatten(1)
        inner = (single > delta).sum(dim=-1).float()
        outer = (single > -delta).sum(dim=-1).float()
        stability = torch.where(outer > 0, inner / outer, torch.ones_like(outer))
        chosen = torch.where(stability >= self.dynamic_multimask_stability_thresh, torch.zeros_like(best), best)
        return logits[row, chosen][:, None], ious[row, chosen][:, None]
