"""Short videos, last frames, empty masks, and every precision."""

import numpy as np
import pytest
import torch
from small_tracker import ABSENT, LENGTH, SIZE, assert_same, click, clip, logits, new_tracker, session, tracker

from sam2.tracking import FrameResult


def test_a_video_of_one_frame() -> None:
    video = session(frames=clip()[:1])
    click(video, 0)
    first = logits(video.propagate())
    click(video, 0, at=(100, 80), label=0)
    again = logits(video.propagate("both"))

    assert list(first) == list(again) == [(1, 0)]
    assert torch.isfinite(first[1, 0]).all()
    assert torch.isfinite(again[1, 0]).all()


@pytest.mark.parametrize("length", [2, 3])
def test_short_videos(length: int) -> None:
    video = session(frames=clip()[:length])
    click(video, 0)
    list(video.propagate())
    click(video, length - 1, at=(100, 80), label=0)

    assert all(torch.isfinite(mask).all() for mask in logits(video.propagate()).values())


def test_a_prompt_on_the_last_frame() -> None:
    video = session()
    shown = click(video, LENGTH - 1)

    forward = logits(video.propagate())

    assert list(forward) == [(1, LENGTH - 1)]
    assert torch.equal(forward[1, LENGTH - 1], shown.low_res[0])
    assert len(list(video.propagate("both"))) == LENGTH


def test_an_empty_mask_says_that_the_object_is_not_there() -> None:
    video = session()
    shown = video.add_mask(0, 1, np.zeros(SIZE, bool))
    click(video, 3)

    results = {result.frame_idx: result for result in video.propagate()}

    assert not shown.masks.any()
    assert shown.object_scores[0] < 0
    assert not results[0].masks.any()
    assert results[3].masks.any()
    assert all(torch.isfinite(result.low_res).all() for result in results.values())


def test_a_full_mask() -> None:
    video = session()
    shown = video.add_mask(0, 1, np.ones(SIZE, bool))

    assert shown.masks.all()
    assert shown.boxes.tolist() == [[0, 0, SIZE[1] - 1, SIZE[0] - 1]]
    assert shown.areas.tolist() == [SIZE[0] * SIZE[1]]


def test_an_absent_object_has_no_pixel() -> None:
    video = session(new_tracker(bias=-20.0))
    shown = click(video, 0)

    assert (shown.low_res == ABSENT).all()
    for result in video.propagate(num_frames=4):
        assert not result.masks.any()
        assert result.object_scores[0] < 0


@pytest.mark.parametrize(
    "mask",
    [
        np.pad(np.ones((40, 50)), 20).astype(bool),
        np.pad(np.ones((40, 50)), 20).astype(np.uint8) * 255,
        np.pad(np.ones((40, 50)), 20).astype(np.uint16),
        np.pad(np.ones((40, 50)), 20).astype(np.float32),
        np.pad(np.ones((40, 50)), 20)[None],
        torch.from_numpy(np.pad(np.ones((40, 50)), 20)),
        np.pad(np.ones((40, 50)), 20).astype(bool)[::-1, ::-1],
        np.pad(np.ones((40, 50)), 20).astype(bool).tolist(),
    ],
    ids=["bool", "uint8", "uint16", "float", "with an axis", "tensor", "flipped view", "list"],
)
def test_masks_of_any_kind(mask: object) -> None:
    want = session().add_mask(0, 1, np.pad(np.ones((40, 50), bool), 20))
    got = session().add_mask(0, 1, mask)

    assert torch.equal(got.low_res, want.low_res)
    assert got.areas[0] == pytest.approx(40 / 80 * 50 / 90 * SIZE[0] * SIZE[1], rel=0.05)


def test_soft_masks_count_from_one_half() -> None:
    soft = np.where(np.arange(SIZE[1]) < 64, 0.4, 0.6)[None].repeat(SIZE[0], 0)

    assert session().add_mask(0, 1, soft).areas[0] == SIZE[0] * SIZE[1] / 2


def _track(dtype: torch.dtype, autocast: torch.dtype | None) -> list[FrameResult]:
    model = new_tracker().cast_(dtype)
    video = session(model, history=2**30, frames=clip()[:10])
    with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
        click(video, 0, 1)
        video.add_mask(2, 2, np.pad(np.ones((40, 50), bool), 20))
        list(video.propagate())
        click(video, 5, 1, at=(100, 80), label=0)
        return list(video.propagate("both"))


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [
        (torch.float32, None),
        (torch.bfloat16, None),
        (torch.float16, None),
        (torch.float32, torch.bfloat16),
        (torch.float32, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
    ],
    ids=str,
)
def test_every_precision(dtype: torch.dtype, autocast: torch.dtype | None) -> None:
    results = sorted(_track(dtype, autocast), key=lambda result: result.frame_idx)

    assert [result.frame_idx for result in results] == list(range(10))
    for result in results:
        assert result.low_res.dtype == result.logits.dtype == torch.float32
        assert result.object_scores.dtype == result.ious.dtype == torch.float32
        assert torch.isfinite(result.logits).all()
    want = _track(torch.float32, None)[0]
    agree = (want.masks == next(r for r in results if r.frame_idx == want.frame_idx).masks).float().mean()
    assert agree > 0.95


def test_autocast_that_is_opened_later() -> None:
    """What was made inside an autocast is read outside, and the other way round."""
    for inside in (True, False):
        video = session(new_tracker())
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            click(video, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=not inside):
            list(video.propagate(num_frames=4))
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            results = list(video.propagate(start=4, num_frames=4))

        assert all(torch.isfinite(result.low_res).all() for result in results)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_under_any_grad_mode(mode: type) -> None:
    plain, moded = session(), session()
    click(plain, 0)
    want = logits(plain.propagate(num_frames=3))
    with mode():
        click(moded, 0)
        got = logits(moded.propagate(num_frames=3))

    assert_same(got, want, exact=True)


def test_holes_are_filled_as_shown_but_not_in_memory() -> None:
    plain, filled = session(), session(tracker(fill_hole_area=200))
    for video in (plain, filled):
        video.add_mask(0, 1, np.pad(np.ones((40, 50), bool), 20))

    a, b = ({r.frame_idx: r for r in video.propagate(num_frames=6)} for video in (plain, filled))

    changed = [frame for frame in a if not torch.equal(a[frame].low_res, b[frame].low_res)]
    for frame in a:
        was_hole = a[frame].low_res != b[frame].low_res
        assert (a[frame].low_res[was_hole] <= 0).all()
        assert torch.equal(b[frame].low_res[was_hole], torch.full_like(b[frame].low_res[was_hole], 0.1))
    assert changed, "this clip has holes, or the test says nothing"


def test_features_of_more_frames_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_tracker()
    encoded = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda pixels: encoded.append(1) or encode(pixels))
    video = session(model, feature_frames=3)
    for frame in (0, 5, 9, 0, 5, 9):
        click(video, frame)

    assert len(encoded) == 3


def test_outputs_may_be_kept_elsewhere() -> None:
    plain, stored = session(), session(storage_device="cpu")
    for video in (plain, stored):
        click(video, 0)

    assert_same(logits(stored.propagate(num_frames=3)), logits(plain.propagate(num_frames=3)), exact=True)
