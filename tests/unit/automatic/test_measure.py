import numpy as np
import pytest
import torch

from sam2.automatic.measure import Levels, in_threads, measure, measure_by_torch, runs_of
from sam2.interop.rle import runs_to_mask
from sam2.utils.amg import calculate_stability_score
from sam2.utils.masks import mask_boxes, resize_masks

SIZES = [(120, 160), (64, 64), (500, 31), (1, 7), (40, 40)]


def smooth_logits(n: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return 8 * torch.nn.functional.interpolate(torch.randn(n, 1, 9, 9, generator=g), (64, 64), mode="bicubic")[:, 0]


@pytest.mark.parametrize("size", SIZES)
def test_by_opencv_as_by_torch(size) -> None:
    logits, levels = smooth_logits(12), Levels(0.2, 0.7)

    (scores, boxes), (want_scores, want_boxes) = measure(logits, size, levels), measure_by_torch(logits, size, levels)

    full = resize_masks(logits[:, None], size)[:, 0]
    defined = want_scores.isfinite()
    assert torch.equal(want_scores[defined], calculate_stability_score(full, 0.2, 0.7)[defined])
    assert torch.equal(want_boxes, mask_boxes(full > 0.2))
    assert torch.equal(defined, scores.isfinite())
    assert torch.allclose(scores[defined], want_scores[defined], atol=1e-3)
    assert (boxes - want_boxes).abs().max() <= 1
    assert scores.dtype == want_scores.dtype == torch.float32
    assert boxes.dtype == want_boxes.dtype == torch.int32


@pytest.mark.parametrize("how", [measure, measure_by_torch])
def test_empty_full_and_none(how) -> None:
    logits = torch.stack((torch.full((8, 8), -5.0), torch.full((8, 8), 5.0)))

    scores, boxes = how(logits, (30, 20), Levels(0.0, 1.0))

    assert scores[0].isnan()
    assert scores[1] == 1
    assert boxes.tolist() == [[20, 30, -1, -1], [0, 0, 19, 29]]
    assert [len(x) for x in how(logits[:0], (30, 20), Levels(0.0, 1.0))] == [0, 0]


def test_large_images_go_mask_by_mask(monkeypatch) -> None:
    logits, levels = smooth_logits(5), Levels(0.0, 1.0)
    want = measure_by_torch(logits, (90, 80), levels)
    monkeypatch.setattr("sam2.automatic.measure._PIXELS_AT_ONCE", 100)

    assert all(torch.equal(a, b) for a, b in zip(measure_by_torch(logits, (90, 80), levels), want, strict=True))


@pytest.mark.parametrize("crop", [(0, 0, 70, 50), (10, 5, 60, 45), (0, 20, 70, 50), (33, 0, 34, 50)])
def test_runs_of_a_crop(crop) -> None:
    logits = smooth_logits(4)
    x0, y0, x1, y1 = crop

    for small, runs in zip(logits, runs_of(logits, crop, (50, 70), 0.3), strict=True):
        want = np.zeros((50, 70), bool)
        want[y0:y1, x0:x1] = resize_masks(small[None, None], (y1 - y0, x1 - x0))[0, 0].numpy() > 0.3
        assert (runs_to_mask(runs, (50, 70)) != want).sum() <= 1


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    assert in_threads(lambda x: x * x, list(range(50))) == [x * x for x in range(50)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda x: 1 // x, [1, 0, 2])
