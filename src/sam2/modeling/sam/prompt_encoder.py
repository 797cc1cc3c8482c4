"""Points, boxes and masks to embeddings that the mask decoder understands."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam2.modeling.layers import Activation, LayerNorm2d
from sam2.modeling.position_encoding import PositionEmbeddingRandom
from sam2.modeling.sam.prompt_maps import PromptMapEncoder, draw_prompts
from sam2.modeling.types import PromptBatch

NOT_A_POINT = -1
NUM_POINT_KINDS = 4


@dataclass(frozen=True, slots=True)
class PromptEmbeddings:
    """What the decoder reads of n objects' prompts.

    Attributes:
        sparse: [n, t, c], one token per point (and one for padding).
        dense: [n, c, h, w].
        hints: additions to the two high-resolution maps ([n, c/8, 4h, 4w], [n, c/4, 2h, 2w]); None in official models.
    """

    sparse: Tensor
    dense: Tensor
    hints: tuple[Tensor, Tensor] | None = None


class PromptEncoder(nn.Module):
    """SAM's prompt encoder.

    Args:
        embed_dim: channels C of the embeddings.
        image_embedding_size: (h, w) of the stride-16 grid.
        input_image_size: (H, W) in pixels of the model's input, the frame of all coordinates.
        mask_in_chans: hidden channels of the mask prompt's convolutions.
        prompt_maps: also draw the prompts (see :mod:`sam2.modeling.sam.prompt_maps`); off officially.
    """

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int,
        activation: Activation = nn.GELU,
        *,
        prompt_maps: bool = False,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.set_image_size(input_image_size, image_embedding_size)
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.num_point_embeddings = NUM_POINT_KINDS
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(NUM_POINT_KINDS))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans // 4),
            activation(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, kernel_size=2, stride=2),
            LayerNorm2d(mask_in_chans),
            activation(),
            nn.Conv2d(mask_in_chans, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)
        self.map_encoder = PromptMapEncoder(embed_dim) if prompt_maps else None
        self._dense_pe: tuple[object, Tensor] | None = None

    def set_image_size(self, input_image_size: tuple[int, int], image_embedding_size: tuple[int, int]) -> None:
        """Change the frame of coordinates; no weight depends on it."""
        self.input_image_size = input_image_size
        self.image_embedding_size = image_embedding_size
        self.mask_input_size = (4 * image_embedding_size[0], 4 * image_embedding_size[1])

    def get_dense_pe(self) -> Tensor:
        """The position code of the image grid, [1, C, h, w] float32; shared between calls, do not write into it."""
        basis = self.pe_layer.positional_encoding_gaussian_matrix
        if basis.is_inference():
            return self.pe_layer(self.image_embedding_size)[None]
        key = (self.image_embedding_size, basis.data_ptr(), basis._version, basis.dtype, basis.device)
        if self._dense_pe is None or self._dense_pe[0] != key:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._dense_pe = (key, self.pe_layer(self.image_embedding_size)[None])
        return self._dense_pe[1]

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The official call.

        Args:
            points: coordinates [n, p, 2] (x, y) in input pixels and labels [n, p], or None.
            boxes: [n, 4] (x0, y0, x1, y1) in input pixels, or None. The predictors never use this: they pass a box as
                two points, which also appends a padding token.
            masks: [n, 1, 4h, 4w] logits, or None.

        Returns:
            Sparse embeddings [n, t, C] and dense embeddings [n, C, h, w].
        """
        sparse = self._sparse(points, boxes, masks)
        dense = self._dense(masks, len(sparse))
        if self.map_encoder is not None:
            coords, labels = self._all_points(points, boxes, len(sparse))
            dense = dense + self._draw(coords, labels, masks)[0]
        return sparse, dense

    def encode(self, prompts: PromptBatch, *, hints: bool = True) -> PromptEmbeddings:
        """All that the decoder can use; ``hints=False`` leaves out what :meth:`forward` cannot return."""
        points = None if prompts.points is None or prompts.labels is None else (prompts.points, prompts.labels)
        sparse = self._sparse(points, None, prompts.masks)
        dense = self._dense(prompts.masks, len(prompts))
        if self.map_encoder is None:
            return PromptEmbeddings(sparse, dense)
        coords, labels = self._all_points(points, None, len(prompts))
        drawn, high_res = self._draw(coords, labels, prompts.masks)
        return PromptEmbeddings(sparse, dense + drawn, high_res if hints else None)

    def _sparse(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None) -> Tensor:
        device = self.no_mask_embed.weight.device
        tokens: list[Tensor] = []
        if points is not None:
            tokens.append(self._embed_points(*points, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._embed_boxes(boxes))
        if tokens:
            return torch.cat(tokens, dim=1)
        return torch.zeros(1 if masks is None else len(masks), 0, self.embed_dim, device=device)

    def _embed_points(self, points: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        points = points.float() + 0.5
        if pad:
            points = torch.cat((points, points.new_zeros(len(points), 1, 2)), dim=1)
            labels = torch.cat((labels, labels.new_full((len(labels), 1), NOT_A_POINT)), dim=1)
        code = self.pe_layer.forward_with_coords(points, self.input_image_size)
        kinds = self._kinds()
        code = code + torch.where(
            (labels >= 0)[..., None], kinds[labels.clamp(0, NUM_POINT_KINDS - 1).long()].to(code.dtype), 0.0
        )
        padding = self.not_a_point_embed.weight[0].to(code.dtype)
        return torch.where((labels == NOT_A_POINT)[..., None], padding, code)

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = (boxes.float() + 0.5).reshape(-1, 2, 2)
        code = self.pe_layer.forward_with_coords(corners, self.input_image_size)
        kinds = self._kinds()[2:]
        return code + kinds.to(code.dtype)

    def _kinds(self) -> Tensor:
        """What each label 0..3 adds to a point, [4, C]."""
        return torch.cat([weight for weight in self.point_embeddings.parameters()])

    def _dense(self, masks: Tensor | None, n: int) -> Tensor:
        if masks is None:
            blank = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
            return blank.expand(n, -1, *self.image_embedding_size)
        return self.mask_downscaling(masks.to(self.no_mask_embed.weight.dtype))

    def _all_points(self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
        device = self.no_mask_embed.weight.device
        coords = torch.zeros(n, 0, 2, device=device)
        labels = torch.zeros(n, 0, dtype=torch.int32, device=device)
        if boxes is not None:
            coords = boxes.float().reshape(n, 2, 2)
            labels = torch.tensor([[2, 3]], dtype=torch.int32, device=device).expand(n, 2)
        if points is not None:
            coords = torch.cat((coords, points[0].float()), dim=1)
            labels = torch.cat((labels, points[1].to(labels.dtype)), dim=1)
        return coords, labels

    def _draw(self, coords: Tensor, labels: Tensor, masks: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        assert self.map_encoder is not None
        maps = draw_prompts(coords, labels, masks, self.mask_input_size, self.input_image_size[0])
        return self.map_encoder(maps.to(self.no_mask_embed.weight.dtype))
