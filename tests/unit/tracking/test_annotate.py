"""Results of tracking as annotations."""

import pytest
import torch

from sam2.interop.annotations import VideoInfo
from sam2.tracking.annotate import annotate
from sam2.tracking.results import FrameResult

VIDEO = VideoInfo("clip", 53, 37, 4, 25.0)


def result(*, non_overlap: bool = False) -> FrameResult:
    """Three objects of smooth noise, the second absent."""
    noise = torch.nn.functional.interpolate(torch.randn(3, 1, 4, 4), size=(16, 16), mode="bilinear")
    noise[1] = -1024
    scores, ious = torch.tensor([3.0, -2.0, 1.0]), torch.tensor([0.75, 0.5, 1.25])
    return FrameResult(2, (7, 3, 9), noise, scores, ious, (37, 53), non_overlap)


@pytest.mark.parametrize("non_overlap", [False, True])
def test_masks_are_those_of_the_result(non_overlap) -> None:
    found = result(non_overlap=non_overlap)

    image = annotate(found, VIDEO, labels={9: "car"})

    assert (image.name, image.frame, image.video, image.size) == ("00002", 2, VIDEO, (37, 53))
    assert [(item.track_id, item.label, item.score) for item in image.objects] == [(7, "object", 0.75), (9, "car", 1.0)]
    assert image.objects[0].attributes == {"predicted_iou": 0.75, "object_score": 3.0}
    for item in image.objects:
        assert torch.equal(torch.from_numpy(item.mask().copy()), found.mask(item.track_id))


def test_objects_take_pixels_from_each_other() -> None:
    plain, apart = (annotate(result(non_overlap=flag), VIDEO) for flag in (False, True))
    torch.manual_seed(0)

    assert sum(item.area for item in apart.objects) <= 37 * 53
    assert len(plain.objects) == len(apart.objects)


def test_a_name_and_a_wrong_size() -> None:
    assert annotate(result(), VIDEO, name="frames/0007.jpg").name == "frames/0007.jpg"
    with pytest.raises(ValueError, match="video clip is 53 x 36, the frame 53 x 37"):
        annotate(result(), VideoInfo("clip", 53, 36))
