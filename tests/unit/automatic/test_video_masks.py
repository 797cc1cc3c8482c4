"""Everything in a video: shapes that move, come and go, proposed as they are, and followed without fault or by nano."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import sam2
from sam2.automatic import MaskProposal
from sam2.automatic.video import VideoMaskGenerator
from sam2.automatic.video_overlaps import small_mask, without_groups
from sam2.interop.rle import encode_mask
from sam2.io.frames import FrameSource
from sam2.modeling.sam2_base import SAM2Base
from sam2.tracking.results import FrameResult

HEIGHT, WIDTH, FRAMES = 120, 160, 24
YY, XX = np.mgrid[:HEIGHT, :WIDTH]
Shapes = Callable[[int], dict[str, np.ndarray]]


def disc(x: float, y: float, radius: float) -> np.ndarray:
    return (XX - x) ** 2 + (YY - y) ** 2 < radius**2


def shapes(frame: int) -> dict[str, np.ndarray]:
    """A disc that goes right, a box that stays until frame 11, and a disc that comes at frame 9."""
    found = {"disc": disc(30 + 2 * frame, 35, 22)}
    if frame < 12:
        found["box"] = (abs(XX - 40) < 20) & (abs(YY - 90) < 15)
    if frame >= 9:
        found["late"] = disc(120, 85, 20)
    return found


COLOURS = {"disc": (220, 40), "box": (40, 60), "late": (30, 230)}


def picture(frame: int, what: Shapes = shapes) -> np.ndarray:
    """Its blue says which frame it is: proposer and tracker below need not guess."""
    image = np.stack([100 + YY // 4, 100 + XX // 8, 0 * XX + frame], -1).astype(np.uint8)
    for name, mask in what(frame).items():
        image[mask, :2] = COLOURS.get(name, (90, 200))
    return image


def number_of(image: np.ndarray) -> int:
    return int(image[0, 0, 2])


def clip(frames: int = FRAMES, what: Shapes = shapes) -> Iterator[np.ndarray]:
    return (picture(frame, what) for frame in range(frames))


class Seer:
    """Proposes what is there, and remembers when it was asked."""

    def __init__(self, what: Shapes = shapes, *, ious: dict[str, float] | None = None) -> None:
        self.what, self.ious = what, ious or {}
        self.asked: list[int] = []

    def propose(self, image: np.ndarray) -> list[MaskProposal]:
        self.asked.append(number_of(image))
        found = self.what(self.asked[-1])
        frame = (0, 0, WIDTH, HEIGHT)
        return [
            MaskProposal(encode_mask(mask), (0, 0, 0, 0), self.ious.get(name, 0.9), 1.0, (0.0, 0.0), frame)
            for name, mask in found.items()
        ]


class FaultlessSession:
    """Follows whatever shape it is prompted with, wherever that goes."""

    what: Shapes = staticmethod(shapes)

    def __init__(self, model: Any, *, policy: Any) -> None:
        self.model, self.size, self.num_frames = model, (HEIGHT, WIDTH), 0
        self.features = SimpleNamespace(get=lambda frame: None)
        self.names: dict[int, str] = {}

    @property
    def obj_ids(self) -> list[int]:
        return list(self.names)

    def step(self, image: np.ndarray) -> FrameResult:
        assert number_of(image) == self.num_frames
        self.num_frames += 1
        return self.result_at(number_of(image))

    def add_mask(self, frame: int, obj_id: int, mask: np.ndarray) -> None:
        here = self.what(frame)
        self.names[obj_id] = max(here, key=lambda name: (here[name] & mask).sum() / (here[name] | mask).sum())

    def remove_object(self, obj_id: int) -> None:
        del self.names[obj_id]

    def result_at(self, frame: int) -> FrameResult:
        here, nothing, side = self.what(frame), np.zeros((HEIGHT, WIDTH), bool), self.model.low_res_size
        rows = [small_mask(here.get(name, nothing), side) for name in self.names.values()]
        low_res = torch.from_numpy(np.array(rows, np.float32).reshape(-1, 1, side, side)) * 20 - 10
        scores = torch.ones(len(rows))
        return FrameResult(frame, tuple(self.names), low_res, scores, scores, self.size)

    def reset(self) -> None:
        self.names = {}

    def close(self) -> None:
        pass


@pytest.fixture
def follow(nano, monkeypatch) -> Callable[..., list[FrameResult]]:
    """Runs the generator on what is to be seen, with a tracker that never errs."""

    def run(what: Shapes = shapes, *, seer: Seer | None = None, frames: int = FRAMES, **options) -> list[FrameResult]:
        kind = type("Session", (FaultlessSession,), {"what": staticmethod(what)})
        monkeypatch.setattr("sam2.automatic.video_tracker.VideoSession", kind)
        options = {"keyframe_every": 8, **options}
        return list(VideoMaskGenerator(nano, mask_generator=seer or Seer(what), **options).generate(clip(frames, what)))

    return run


def ids(results: list[FrameResult]) -> list[tuple[int, ...]]:
    return [result.obj_ids for result in results]


def iou(result: FrameResult, obj_id: int, mask: np.ndarray) -> float:
    found = result.mask(obj_id).cpu().numpy()
    return (found & mask).sum() / (found | mask).sum()


# ---------------------------------------------------------------------- objects that come and go


def test_objects_are_found_on_key_frames_and_numbered_for_good(follow) -> None:
    seer = Seer()
    results = follow(seer=seer)

    assert [result.frame_idx for result in results] == list(range(FRAMES))
    assert seer.asked == [0, 8, 16]
    assert ids(results) == [(1, 2)] * 16 + [(1, 2, 3)] * 8
    # the box has left at frame 12, and may come back
    assert [bool(result.areas[1]) for result in results] == [True] * 12 + [False] * 12


def test_a_new_object_is_in_the_result_of_the_frame_it_was_found_in(follow) -> None:
    result = follow()[16]

    assert iou(result, 3, shapes(16)["late"]) > 0.85


def test_what_stays_away_is_forgotten_and_its_number_is_not_given_again(follow) -> None:
    results = follow(drop_after=4)

    assert ids(results) == [(1, 2)] * 15 + [(1,)] + [(1, 3)] * 8  # last seen on frame 11


def test_what_the_tracker_is_not_sure_of_counts_as_unseen(follow, monkeypatch) -> None:
    sure = FaultlessSession.result_at

    def doubtful(self: FaultlessSession, frame: int) -> FrameResult:
        result = sure(self, frame)
        ious = [0.2 if name == "disc" and frame > 3 else 0.9 for name in self.names.values()]
        return replace(result, ious=torch.tensor(ious))

    monkeypatch.setattr(FaultlessSession, "result_at", doubtful)

    assert ids(follow(drop_after=3, frames=8)) == [(1, 2)] * 6 + [(2,)] * 2
    assert ids(follow(drop_after=3, frames=8, seen_iou=0.0)) == [(1, 2)] * 8


@pytest.mark.parametrize(("drop_after", "then"), [(4, (1, 2)), (3, (1, 3))])
def test_what_comes_back_in_time_keeps_its_number(follow, drop_after, then) -> None:
    def hidden(frame: int) -> dict[str, np.ndarray]:
        return {name: mask for name, mask in shapes(0).items() if name != "box" or frame not in (10, 11, 12)}

    assert ids(follow(hidden, drop_after=drop_after))[-1] == then


def test_no_more_objects_than_allowed_and_the_surest_first(follow) -> None:
    assert set(ids(follow(max_objects=1, frames=3))) == {(1,)}
    result = follow(seer=Seer(ious={"disc": 0.3}), max_objects=1, frames=3)[0]
    assert iou(result, 1, shapes(0)["box"]) > 0.85


def test_an_object_that_has_been_away_gives_way_to_a_new_one(follow) -> None:
    results = follow(max_objects=2, frames=25)

    # the box was last seen on frame 11: not yet a key frame ago on frame 16
    assert ids(results) == [(1, 2)] * 24 + [(1, 3)]


def test_of_two_objects_that_have_become_one_the_later_goes(follow) -> None:
    def merging(frame: int) -> dict[str, np.ndarray]:
        return {"disc": disc(50, 60, 25), "other": disc(50 if frame > 3 else 120, 60, 25)}

    results = follow(merging, same_after=2)

    assert ids(results) == [(1, 2)] * 16 + [(1,)] * 8


def test_meeting_once_is_no_merger(follow) -> None:
    def meeting(frame: int) -> dict[str, np.ndarray]:
        return {"disc": disc(50, 60, 25), "other": disc(50 if frame == 8 else 120, 60, 25)}

    assert set(ids(follow(meeting, same_after=2))) == {(1, 2)}


# ---------------------------------------------------------------------- what counts as an object


def first(follow, **masks: np.ndarray) -> FrameResult:
    return follow(lambda frame: masks, frames=1)[0]


def test_parts_specks_and_the_whole_frame_are_no_objects(follow) -> None:
    result = first(
        follow,
        wheel=disc(40, 50, 8),
        car=disc(40, 40, 30),
        again=disc(41, 40, 30),
        speck=disc(120, 20, 2),
        frame=np.ones((HEIGHT, WIDTH), bool),
    )

    assert result.obj_ids == (1,)
    assert iou(result, 1, disc(40, 40, 30)) > 0.85


def test_a_mask_that_has_run_over_is_not_taken_for_the_thing(follow) -> None:
    seer_of = {"spill": 0.6, "car": 0.95}
    masks = {"spill": disc(60, 60, 45), "car": disc(50, 60, 33)}

    result = follow(lambda frame: masks, seer=Seer(lambda frame: masks, ious=seer_of), frames=1)[0]

    assert result.obj_ids == (1,)
    assert iou(result, 1, masks["car"]) > 0.85


def test_options_of_what_is_an_object(follow) -> None:
    masks = {"car": disc(40, 40, 30), "wheel": disc(40, 50, 8), "speck": disc(120, 20, 2)}

    def count(**options: object) -> int:
        return len(follow(lambda frame: masks, frames=1, **options)[0])

    assert count() == 1
    assert count(min_area=0) == 2
    assert count(new_object_coverage=1.0) == 1  # all of the wheel is covered
    assert count(max_share=0.1) == 1
    masks["beside"] = disc(68, 40, 30)  # 0.43 of it is covered, IoU 0.27
    assert count() == 2
    assert count(new_object_iou=0.2) == 1
    assert count(new_object_coverage=0.3) == 1


def test_islands_and_holes_that_are_too_small_do_not_count(nano) -> None:
    def only(mask: np.ndarray) -> FrameResult:
        seer = Seer(lambda frame: {"torn": mask})
        return next(VideoMaskGenerator(nano, mask_generator=seer).generate(clip(1)))

    result = only((disc(60, 60, 30) & ~disc(60, 60, 2)) | disc(140, 20, 2))

    assert not result.mask(1)[15:25, 135:145].any()
    assert result.mask(1)[55:65, 55:65].all()
    dust = (XX % 20 < 2) & (YY % 20 < 2)
    assert len(only(dust)) == 0


# ---------------------------------------------------------------------- with a tracker


def test_nano_follows_what_was_proposed(nano) -> None:
    results = list(VideoMaskGenerator(nano, mask_generator=Seer()).generate(clip(9)))

    assert set(ids(results)) == {(1, 2)}
    for result in results:
        for obj_id, name in enumerate(("disc", "box"), start=1):
            assert iou(result, obj_id, shapes(result.frame_idx)[name]) > 0.6
            assert result.object_scores[obj_id - 1] > 0


def two_discs(frame: int) -> dict[str, np.ndarray]:
    return {"disc": disc(30 + 2 * frame, 35, 22), "late": disc(120 - frame, 85, 20)}


def second_from(start: int) -> Seer:
    """Does not see the second of two discs before frame ``start``."""
    return Seer(lambda frame: dict(list(two_discs(frame).items())[: 1 + (frame >= start)]))


def test_objects_do_not_change_when_one_is_found(nano) -> None:
    first, never = (
        list(VideoMaskGenerator(nano, mask_generator=second_from(start), keyframe_every=4).generate(clip(7, two_discs)))
        for start in (4, 100)
    )

    assert ids(first) == [(1,)] * 4 + [(1, 2)] * 3
    assert ids(never) == [(1,)] * 7
    assert torch.equal(first[4].low_res[:1], never[4].low_res)
    for frame in (4, 5, 6):
        assert iou(first[frame], 2, two_discs(frame)["late"]) > 0.6
        torch.testing.assert_close(first[frame].low_res[:1], never[frame].low_res, atol=1e-3, rtol=0)


def test_non_overlap(nano) -> None:
    seer = Seer(lambda frame: {"disc": disc(50, 60, 30), "other": disc(85, 60, 30)})

    plain, apart = (
        next(VideoMaskGenerator(nano, mask_generator=seer, non_overlap=flag).generate(clip(1)))
        for flag in (False, True)
    )

    assert plain.masks.sum(0).max() == 2
    assert apart.masks.sum(0).max() == 1


def test_memory_of_an_object_stops_growing(nano) -> None:
    held = []
    with VideoMaskGenerator(nano, mask_generator=second_from(4), keyframe_every=4).start() as tracker:
        for frame in clip(24, two_discs):
            result = tracker.step(frame)
            outputs = [
                output
                for track in tracker.session.tracks.values()
                for output in (*track.bank.prompted.values(), *track.bank.recent.values())
            ]
            held.append((len(outputs), sum(output.num_bytes for output in outputs)))
        assert (tracker.num_frames, tracker.num_found, tracker.obj_ids) == (24, 2, [1, 2])
        assert result.obj_ids == (1, 2)

    assert held[21:] == [held[20]] * 3, "the second was found on frame 4 and has fifteen frames behind it"
    assert held[20][0] <= 2 * 17
    assert held[20][1] < 2 * 1.5 * 2**20
    assert tracker.obj_ids == []


def test_one_frame_and_frames_without_anything(nano) -> None:
    assert ids(list(VideoMaskGenerator(nano, mask_generator=Seer()).generate([picture(0)]))) == [(1, 2)]
    blind = Seer(lambda frame: {})

    results = list(VideoMaskGenerator(nano, mask_generator=blind).generate(clip(3)))

    assert ids(results) == [()] * 3
    assert results[0].masks.shape == (0, HEIGHT, WIDTH)


def test_a_group_is_told_from_a_thing_with_parts() -> None:
    planes = np.zeros((4, 100), np.float32)
    planes[0, :40], planes[1, 45:80] = 1, 1
    planes[2, :80] = 1  # both, and what is between them
    planes[3, :10] = 1  # a part of the first
    assert without_groups(planes, [0.95, 0.95, 0.9, 0.9]) == [0, 1, 3]
    assert without_groups(planes, [0.95, 0.85, 0.9, 0.9]) == [0, 1, 2, 3], "a part is less sure than the whole"
    assert without_groups(planes[[0, 2, 3]], [0.95, 0.9, 0.97]) == [0, 1, 2], "its own part is no second member"
    assert without_groups(np.zeros((1, 100), np.float32), [0.5]) == [0]


def test_the_grid_of_its_own(nano, photo_of_things) -> None:
    result = next(VideoMaskGenerator(nano, points_per_side=6).generate([photo_of_things]))

    assert len(result) >= 2
    assert max(iou(result, obj_id, photo_of_things[..., 2] > 190) for obj_id in result.obj_ids) > 0.8


def test_a_mask_generator_of_the_same_model_shares_its_features(nano, photo_of_things, monkeypatch) -> None:
    encoded = []
    original = type(nano).encode_image
    monkeypatch.setattr(type(nano), "encode_image", lambda *args: encoded.append(1) or original(*args))

    def found(model: SAM2Base) -> FrameResult:
        finder = sam2.SAM2AutomaticMaskGenerator(model, points_per_side=6)
        generator = VideoMaskGenerator(nano, mask_generator=finder)
        encoded.clear()
        return next(generator.generate([photo_of_things]))

    shared = found(nano)
    assert len(encoded) == 1
    apart = found(sam2.load("nano", device="cpu", dtype="float32"))
    assert len(encoded) == 2
    assert len(shared) == len(apart) >= 2
    for mine in shared.masks:  # the image route resizes otherwise, so that a mask may come out somewhat larger or later
        assert max(float((mine & other).sum() / (mine | other).sum()) for other in apart.masks) > 0.65


# ---------------------------------------------------------------------- calls


def test_progress_and_cancel(nano) -> None:
    generator = VideoMaskGenerator(nano, mask_generator=Seer())
    frames = np.stack(list(clip(3)))
    calls: list[tuple[int, int | None]] = []

    list(generator.generate(frames, progress=lambda *call: calls.append(call)))
    list(generator.generate(iter(frames), progress=lambda *call: calls.append(call)))
    assert calls == [(1, 3), (2, 3), (3, 3), (1, None), (2, None), (3, None)]

    asked = iter([False, False, True])
    assert len(list(generator.generate(frames, cancel=lambda: next(asked)))) == 2


def test_leaving_early_frees_the_frames(nano) -> None:
    left = []

    def frames() -> Iterator[np.ndarray]:
        try:
            yield from clip()
        finally:
            left.append(True)

    generation = VideoMaskGenerator(nano, mask_generator=Seer()).generate(frames())
    next(generation)
    assert not left
    generation.close()

    assert left == [True]


class Closeable(FrameSource):
    def __init__(self) -> None:
        self.num_frames, self.height, self.width, self.closed = 3, HEIGHT, WIDTH, False

    def _decode(self, index: int) -> np.ndarray:
        return picture(index)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("early", [False, True])
def test_a_source_is_closed_by_who_opened_it(nano, monkeypatch, early) -> None:
    def run(video: object) -> None:
        results = VideoMaskGenerator(nano, mask_generator=Seer()).generate(video)
        next(results)
        if early:
            results.close()
        else:
            list(results)

    given, opened = Closeable(), Closeable()
    run(given)
    monkeypatch.setattr("sam2.automatic.video.open_frames", lambda video: opened)
    run("clip.mp4")

    assert not given.closed
    assert opened.closed


def test_what_cannot_be_used(nano, tmp_path) -> None:
    generator = VideoMaskGenerator(nano, mask_generator=Seer())
    with pytest.raises(ValueError, match="video must have at least one frame, got none"):
        list(generator.generate(iter([])))
    with pytest.raises(FileNotFoundError):
        generator.generate(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="frame must have the size of the first one"):
        list(generator.generate(iter([picture(0), picture(1)[:60]])))
    with pytest.raises(TypeError, match=r"mask_generator must have propose\(image\), got int"):
        VideoMaskGenerator(nano, mask_generator=3)
    with pytest.raises(TypeError, match="key_frames"):
        VideoMaskGenerator(nano, key_frames=3)
    with pytest.raises(ValueError, match=r"mask_generator must give masks of the frame's .* \(60, 80\), got"):
        next(generator.generate([picture(0)[::2, ::2]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyframe_every": 0}, "keyframe_every must be a whole number of at least 1, got 0"),
        ({"max_objects": 2.5}, "max_objects must be a whole number of at least 1, got 2.5"),
        ({"drop_after": True}, "drop_after"),
        ({"min_area": -1}, "min_area must be a whole number of at least 0, got -1"),
        ({"same_iou": 0}, "same_iou must be a number above 0 and at most 1, got 0"),
        ({"max_share": 1.5}, "max_share"),
        ({"new_object_coverage": float("nan")}, "new_object_coverage"),
    ],
)
def test_wrong_options(nano, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        VideoMaskGenerator(nano, **options)
