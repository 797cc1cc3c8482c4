"""Points, boxes and masks as tokens and maps."""

import pytest
import torch

from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.types import PromptBatch


@pytest.fixture
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(32, (16, 16), (256, 256), mask_in_chans=16)


POINTS = torch.tensor([[[10.0, 20.0], [200.0, 100.0]], [[30.0, 5.0], [60.0, 250.0]]])
LABELS = torch.tensor([[1, 0], [1, 1]])


def test_points_are_padded_by_one_token(encoder: PromptEncoder) -> None:
    sparse, dense = encoder(points=(POINTS, LABELS), boxes=None, masks=None)

    assert sparse.shape == (2, 3, 32)
    assert dense.shape == (2, 32, 16, 16)
    torch.testing.assert_close(sparse[:, 2], encoder.not_a_point_embed.weight.expand(2, -1))
    torch.testing.assert_close(dense, encoder.no_mask_embed.weight.view(1, 32, 1, 1).expand(2, -1, 16, 16))


def test_boxes_alone_are_two_tokens(encoder: PromptEncoder) -> None:
    boxes = torch.tensor([[10.0, 20.0, 200.0, 100.0]])

    sparse, _ = encoder(points=None, boxes=boxes, masks=None)
    corners, _ = encoder(points=(boxes.view(1, 2, 2), torch.tensor([[2, 3]])), boxes=None, masks=None)

    assert sparse.shape == (1, 2, 32)
    torch.testing.assert_close(corners[:, :2], sparse)  # a box is its corners with labels 2 and 3, and padding


def test_points_with_boxes_are_not_padded(encoder: PromptEncoder) -> None:
    sparse, _ = encoder(points=(POINTS, LABELS), boxes=torch.zeros(2, 4), masks=None)

    assert sparse.shape == (2, 4, 32)


def test_masks_alone_give_no_token(encoder: PromptEncoder) -> None:
    sparse, dense = encoder(points=None, boxes=None, masks=torch.randn(3, 1, 64, 64))

    assert sparse.shape == (3, 0, 32)
    assert dense.shape == (3, 32, 16, 16)


def test_nothing_is_one_object_without_tokens(encoder: PromptEncoder) -> None:
    sparse, dense = encoder(points=None, boxes=None, masks=None)

    assert (sparse.shape, dense.shape) == ((1, 0, 32), (1, 32, 16, 16))


def test_code_of_a_point_is_its_pixel_centre_plus_its_kind(encoder: PromptEncoder) -> None:
    sparse, _ = encoder(points=(POINTS, LABELS), boxes=None, masks=None)
    place = encoder.pe_layer.forward_with_coords(POINTS + 0.5, (256, 256))

    torch.testing.assert_close(sparse[0, 0], place[0, 0] + encoder.point_embeddings[1].weight[0])
    torch.testing.assert_close(sparse[0, 1], place[0, 1] + encoder.point_embeddings[0].weight[0])


def test_a_padding_point_has_no_place(encoder: PromptEncoder) -> None:
    labels = torch.tensor([[-1, -1]])

    here, _ = encoder(points=(POINTS[:1], labels), boxes=None, masks=None)
    there, _ = encoder(points=(POINTS[1:], labels), boxes=None, masks=None)

    torch.testing.assert_close(here, there)


def test_encoding_a_batch_is_the_official_call(encoder: PromptEncoder) -> None:
    masks = torch.randn(2, 1, 64, 64)
    sparse, dense = encoder(points=(POINTS, LABELS), boxes=None, masks=masks)

    encoded = encoder.encode(PromptBatch(POINTS, LABELS, masks))

    torch.testing.assert_close(encoded.sparse, sparse)
    torch.testing.assert_close(encoded.dense, dense)
    assert encoded.hints is None


def test_gradients_reach_every_weight_that_was_used(encoder: PromptEncoder) -> None:
    labels = torch.tensor([[1, 0], [2, 3]])
    sparse, dense = encoder(points=(POINTS, labels), boxes=None, masks=torch.randn(2, 1, 64, 64))

    (sparse.sum() + dense.sum()).backward()

    unused = {"no_mask_embed.weight"}
    assert {name for name, p in encoder.named_parameters() if p.grad is None} == unused


def test_position_code_of_the_grid_is_kept(encoder: PromptEncoder) -> None:
    first = encoder.get_dense_pe()

    assert first.shape == (1, 32, 16, 16)
    assert encoder.get_dense_pe() is first
    encoder.set_image_size((320, 320), (20, 20))
    assert encoder.get_dense_pe().shape == (1, 32, 20, 20)
    with torch.no_grad():
        encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(2)
    assert not torch.equal(encoder.get_dense_pe()[..., :16, :16], first)


def test_position_code_follows_loaded_weights(encoder: PromptEncoder) -> None:
    first = encoder.get_dense_pe().clone()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    state["pe_layer.positional_encoding_gaussian_matrix"] += 1

    encoder.load_state_dict(state)

    assert not torch.equal(encoder.get_dense_pe(), first)
