import numpy as np
import pytest
import torch

from sam2.image.prompts import Prompts, PromptTensors, check_prompts, fit_mask, merge, to_model
from sam2.utils.prompt_checks import MASK_LOGIT
from sam2.utils.transforms import SAM2Transforms

POINT, LABEL, BOX = [[10.0, 20.0]], [1], [1.0, 2.0, 30.0, 40.0]


def ready(**prompts):
    """The batch that a model of 256 px would get for an image of 100 x 200."""
    transforms = SAM2Transforms(256, 0.0)
    return merge(to_model(check_prompts(Prompts(**prompts)), transforms, (100, 200)), 64)


def test_a_point_becomes_one_row_in_model_pixels() -> None:
    batch = ready(points=POINT, labels=LABEL)

    torch.testing.assert_close(batch.points, torch.tensor([[[12.8, 51.2]]]))
    assert batch.labels.tolist() == [[1]]
    assert batch.labels.dtype == torch.int32
    assert batch.masks is None


def test_a_box_is_two_points_before_the_clicks() -> None:
    batch = ready(points=POINT, labels=[0], boxes=BOX)

    assert batch.labels.tolist() == [[2, 3, 0]]
    torch.testing.assert_close(batch.points[0, 0], torch.tensor([1.28, 5.12]))


def test_what_is_given_once_holds_for_all_objects() -> None:
    batch = ready(points=POINT, labels=LABEL, boxes=[BOX, BOX, BOX], masks=np.zeros((1, 64, 64)))

    assert len(batch) == 3
    assert batch.labels.tolist() == [[2, 3, 1]] * 3
    assert batch.masks.shape == (3, 1, 64, 64)
    assert len(ready(points=[POINT] * 4, labels=[LABEL] * 4, boxes=BOX)) == 4


def test_numbers_of_objects_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="points of 2, boxes of 3"):
        ready(points=[POINT] * 2, labels=[LABEL] * 2, boxes=[BOX] * 3)


def test_no_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="a prompt is needed"):
        ready()
    with pytest.raises(ValueError, match="a prompt is needed"):
        ready(points=np.zeros((0, 2)), labels=np.zeros(0))


def test_no_points_beside_a_box_are_none() -> None:
    assert ready(points=np.zeros((0, 2)), labels=np.zeros(0), boxes=BOX).labels.tolist() == [[2, 3]]


def test_no_boxes_are_no_objects() -> None:
    assert len(ready(boxes=np.zeros((0, 4)))) == 0
    assert len(ready(points=POINT, labels=LABEL, boxes=np.zeros((0, 4)))) == 0


def test_a_mask_alone_has_no_points() -> None:
    batch = ready(masks=np.zeros((64, 64), np.float32))

    assert batch.points is None
    assert batch.num_points == 0


def test_masks_of_other_sizes_are_resized_and_bool_masks_are_logits() -> None:
    mask = np.zeros((100, 200), bool)
    mask[:, 100:] = True

    batch = ready(masks=mask)

    assert batch.masks.shape == (1, 1, 64, 64)
    assert torch.allclose(batch.masks[..., :30], torch.tensor(-MASK_LOGIT))
    assert torch.allclose(batch.masks[..., 34:], torch.tensor(MASK_LOGIT))
    fitting = torch.randn(2, 1, 64, 64)
    assert fit_mask(fitting, 64) is fitting


def test_numbers_are_taken_in_any_form() -> None:
    want = ready(points=POINT, labels=LABEL)
    forms = [
        (np.array(POINT), np.array(LABEL)),
        (np.array(POINT, np.int32), np.array(LABEL, np.uint8)),
        (torch.tensor(POINT, dtype=torch.float64), torch.tensor([True])),
        (tuple(map(tuple, POINT)), np.array([True])),
        (np.array([POINT]), np.array([[1.0]])),
    ]
    for points, labels in forms:
        batch = ready(points=points, labels=labels)
        assert torch.equal(batch.points, want.points)
        assert torch.equal(batch.labels, want.labels)


def test_read_only_arrays_are_taken() -> None:
    points = np.array(POINT)
    points.setflags(write=False)

    assert len(ready(points=points, labels=LABEL)) == 1


def test_prompts_may_reach_outside_the_image() -> None:
    assert len(ready(points=[[-50.0, 900.0]], labels=[1], boxes=[-10, -10, 900, 900])) == 1


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"points": POINT}, "labels must be given with points"),
        ({"labels": LABEL}, "points must be given with labels"),
        ({"points": [1.0, 2.0], "labels": [1]}, r"points must have shape"),
        ({"points": [[1.0, 2.0, 3.0]], "labels": [1]}, r"points must have shape"),
        ({"points": [[1.0], [2.0, 3.0]], "labels": [1, 1]}, "points must be a rectangular"),
        ({"points": [["a", "b"]], "labels": [1]}, "points must hold numbers"),
        ({"points": [[None, 1.0]], "labels": [1]}, "points must hold numbers"),
        ({"points": [[1j, 1.0]], "labels": [1]}, "points must hold numbers"),
        ({"points": torch.tensor([[1j, 1.0]]), "labels": [1]}, "points must hold real numbers"),
        ({"points": [[float("nan"), 1.0]], "labels": [1]}, "points must be finite"),
        ({"points": [[1.0, float("inf")]], "labels": [1]}, "points must be finite"),
        ({"points": POINT, "labels": [1, 0]}, "labels must have one label per point"),
        ({"points": [POINT], "labels": [[1, 0]]}, "labels must have one label per point"),
        ({"points": POINT, "labels": [4]}, r"labels must be 1 .* got \[4\]"),
        ({"points": POINT, "labels": [0.5]}, r"labels must be 1 .* got \[0.5\]"),
        ({"points": POINT, "labels": [-2]}, "labels must be 1"),
        ({"boxes": [1.0, 2.0, 3.0]}, "boxes must have shape"),
        ({"boxes": [[1.0, 2.0, 3.0, 4.0, 5.0]]}, "boxes must have shape"),
        ({"boxes": [30.0, 2.0, 10.0, 40.0]}, r"x0 <= x1 .* got \[30.0, 2.0, 10.0, 40.0\]"),
        ({"boxes": [[0.0, 0.0, 1.0, 1.0], [0.0, 9.0, 1.0, 1.0]]}, "y0 <= y1"),
        ({"boxes": [1.0, float("nan"), 3.0, 4.0]}, "boxes must be finite"),
        ({"masks": np.zeros((3, 64, 64))}, "masks must have shape"),
        ({"masks": np.zeros((2, 3, 64, 64))}, "masks must have shape"),
        ({"masks": np.zeros((1, 0, 64))}, "masks must have shape"),
        ({"masks": np.full((64, 64), np.nan)}, "masks must be finite"),
        ({"masks": np.array([["x"]])}, "masks must hold numbers"),
    ],
)
def test_bad_prompts_are_refused_by_name(prompts, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_prompts(Prompts(**prompts))


def test_messages_use_the_callers_names() -> None:
    names = ("point_coords", "point_labels", "box", "mask_input")

    with pytest.raises(ValueError, match="point_labels must be given with point_coords"):
        check_prompts(Prompts(points=POINT), names=names)
    with pytest.raises(ValueError, match="box must have shape"):
        check_prompts(Prompts(boxes=[1]), names=names)


def test_gradients_reach_points_given_as_tensors() -> None:
    points = torch.tensor([POINT], requires_grad=True)

    batch = merge(PromptTensors(points, torch.ones(1, 1, dtype=torch.int32)), 64)

    assert batch.points.requires_grad
