import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD, SAM2Transforms


@pytest.fixture
def transforms() -> SAM2Transforms:
    return SAM2Transforms(resolution=64, mask_threshold=0.0)


def test_a_constant_image_is_only_normalised(transforms) -> None:
    pixels = transforms(np.full((30, 50, 3), 51, np.uint8))

    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == torch.float32
    for channel, mean, std in zip(pixels, IMAGE_MEAN, IMAGE_STD, strict=True):
        torch.testing.assert_close(channel, torch.full((64, 64), (0.2 - mean) / std))


def test_arrays_images_and_tensors_agree(transforms, photo) -> None:
    from_array = transforms(photo)

    assert torch.equal(from_array, transforms(Image.fromarray(photo)))
    assert torch.equal(from_array, transforms(torch.from_numpy(photo).permute(2, 0, 1)))
    assert torch.equal(from_array, transforms(np.ascontiguousarray(photo[:, ::-1])[:, ::-1]))
    torch.testing.assert_close(from_array, transforms(torch.from_numpy(photo).permute(2, 0, 1) / 255))


def test_the_input_stays_as_it_was(transforms) -> None:
    unit = torch.rand(3, 64, 64)
    before = unit.clone()

    transforms(unit)

    assert torch.equal(unit, before)


def test_read_only_arrays_are_taken(transforms, photo) -> None:
    frozen = photo.copy()
    frozen.setflags(write=False)

    assert torch.equal(transforms(frozen), transforms(photo))


def test_downscaling_averages(transforms) -> None:
    """Antialiasing: a fine chequerboard becomes grey, it does not alias to black or white."""
    board = np.repeat(((np.indices((512, 512)).sum(0) % 2) * 255).astype(np.uint8)[:, :, None], 3, axis=2)

    unit = transforms(board) * torch.tensor(IMAGE_STD)[:, None, None] + torch.tensor(IMAGE_MEAN)[:, None, None]

    assert (unit[:, 4:-4, 4:-4] - 0.5).abs().max() < 0.01


def test_batches_stack_images_of_any_size(transforms, photo) -> None:
    batch = transforms.forward_batch([photo, photo[:50, :40]])

    assert batch.shape == (2, 3, 64, 64)
    assert torch.equal(batch[0], transforms(photo))


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_other_shapes_are_refused(transforms, shape) -> None:
    with pytest.raises(ValueError, match="shape"):
        transforms(np.zeros(shape, np.uint8))


@given(x=st.floats(-500, 5000), y=st.floats(-500, 5000), height=st.integers(1, 4000), width=st.integers(1, 4000))
def test_coordinates_scale_by_each_side(x, y, height, width) -> None:
    transforms = SAM2Transforms(1024, 0.0)

    moved = transforms.transform_coords(torch.tensor([[x, y]]), normalize=True, orig_hw=(height, width))

    want = torch.tensor([[x / width * 1024, y / height * 1024]])
    torch.testing.assert_close(moved, want, rtol=1e-5, atol=1e-3)


def test_unit_coordinates_scale_by_the_resolution(transforms) -> None:
    coords = torch.tensor([[[0.25, 0.5]]])

    assert transforms.transform_coords(coords).tolist() == [[[16.0, 32.0]]]


def test_pixels_need_the_size(transforms) -> None:
    with pytest.raises(ValueError, match="orig_hw"):
        transforms.transform_coords(torch.zeros(1, 2), normalize=True)


def test_boxes_become_corners(transforms) -> None:
    boxes = torch.tensor([[0.0, 10.0, 20.0, 40.0], [5.0, 5.0, 10.0, 20.0]])

    corners = transforms.transform_boxes(boxes, normalize=True, orig_hw=(40, 20))

    assert corners.tolist() == [[[0.0, 16.0], [64.0, 64.0]], [[16.0, 8.0], [32.0, 32.0]]]


def test_masks_are_enlarged_as_float32(transforms) -> None:
    logits = torch.randn(2, 3, 16, 16, dtype=torch.bfloat16)

    masks = transforms.postprocess_masks(logits, (33, 47))

    assert masks.shape == (2, 3, 33, 47)
    assert masks.dtype == torch.float32


def test_holes_and_sprinkles_are_treated_before_enlarging() -> None:
    logits = torch.full((1, 1, 16, 16), -5.0)
    logits[..., 4:12, 4:12] = 5.0
    logits[..., 7, 7] = -5.0
    logits[..., 1, 1] = 5.0
    plain = SAM2Transforms(64, 0.5)
    both = SAM2Transforms(64, 0.5, max_hole_area=1, max_sprinkle_area=1)

    want = logits.clone()
    want[..., 7, 7] = 10.5
    want[..., 1, 1] = -9.5

    assert torch.equal(plain.postprocess_masks(logits, (16, 16)), logits)
    assert torch.equal(both.postprocess_masks(logits, (16, 16)), want)
    assert logits[0, 0, 7, 7] == -5.0


def test_gradients_pass() -> None:
    logits = torch.randn(1, 1, 16, 16, requires_grad=True)

    SAM2Transforms(64, 0.0, 2, 2).postprocess_masks(logits, (20, 20)).sum().backward()

    assert logits.grad is not None
