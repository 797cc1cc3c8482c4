"""The tracker of a video project: in step with what is on disk, the same after a restart, steady under previews."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import sam2
from sam2.interop.rle import decode_mask
from sam2.io.frames import FrameSource, open_frames
from sam2.web.engine.prompts import rle_mask
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.projects.tracked import TrackedLog, TrackedMask
from sam2.web.projects.tracker import Said, Tracker
from sam2.web.projects.tracker_run import Way, go, plan, tracked_mask
from sam2.web.projects.tracker_state import RECORD
from sam2.web.schemas import Point, Prompts, TrackRequest

HEIGHT, WIDTH, LENGTH = 96, 128, 11


def place(frame: int, object_id: int = 1) -> tuple[slice, slice]:
    """Where the objects are: a red square that goes right, a green one that goes left."""
    return (
        (slice(20, 56), slice(10 + 3 * frame, 44 + 3 * frame))
        if object_id == 1
        else (slice(64, 88), slice(100 - 3 * frame, 124 - 3 * frame))
    )


@pytest.fixture(scope="module")
def frames() -> FrameSource:
    background = np.random.default_rng(1).integers(60, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    pictures = np.stack([background] * LENGTH)
    for index in range(LENGTH):
        pictures[index][place(index)] = (220, 40, 40)
        pictures[index][place(index, 2)] = (40, 220, 60)
    return open_frames(pictures)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner(sam2.load("nano"))
    yield runner
    runner.close()


CLICK = Prompts(points=(Point(x=27, y=38),))
BOX = Prompts(box=(99, 63, 125, 89))


class Desk:
    """A project's tracker with what is on disk."""

    def __init__(self, runner: Runner, frames: FrameSource, folder: Path) -> None:
        self.said: dict[tuple[int, int], Said] = {}
        self.parts = (runner, frames, folder)
        self.start()

    def start(self) -> None:
        """As after a restart: nothing but the disk is known."""
        runner, frames, folder = self.parts
        self.runner, self.log = runner, TrackedLog(folder / "tracked.jsonl", LENGTH, (HEIGHT, WIDTH))
        self.tracker = Tracker(runner, frames, log=self.log, folder=folder)

    def say(self, frame: int, object_id: int, prompts: Prompts) -> TrackedMask:
        self.tracker.sync(self.said.values())
        features = self.runner.run(lambda: self.tracker.session.features.get(frame))
        result = self.runner.run(lambda: self.tracker.say(frame, object_id, prompts, features))
        mask = tracked_mask(object_id, result)
        item = Said(frame, object_id, prompts, mask.mask)
        self.said[item.key] = item
        self.tracker.note(item)
        return mask

    def track(self, most: int | None = None, **request) -> dict[int, dict[int, TrackedMask]]:
        """Track, ``most`` frames at most; what was found by frame and object."""
        self.tracker.sync(self.said.values())
        prompted: dict[int, list[int]] = {}
        for frame, object_id in self.said:
            prompted.setdefault(object_id, []).append(frame)
        way = plan(TrackRequest(**request), LENGTH, prompted)
        found: dict[int, dict[int, TrackedMask]] = {}
        for frame, masks in go(self.tracker, way, cancelled=lambda: most is not None and len(found) >= most):
            self.log.append(frame, masks)
            found[frame] = {item.object_id: item for item in masks}
        return found

    def found(self, frame: int, object_id: int) -> TrackedMask:
        """What is on disk."""
        mask = self.log.mask(frame, object_id)
        assert mask is not None
        return mask


@pytest.fixture
def desk(runner: Runner, frames: FrameSource, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(runner, frames, tmp_path)
    yield desk
    desk.log.close()


def bits(mask: TrackedMask) -> NDArray[np.bool_]:
    return decode_mask(mask.mask.model_dump())


def iou(mask: TrackedMask, frame: int, object_id: int = 1) -> float:
    """How well a mask fits the object."""
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[place(frame, object_id)] = True
    return (bits(mask) & truth).sum() / (bits(mask) | truth).sum()


def test_objects_are_tracked_from_their_prompts_on(desk: Desk) -> None:
    desk.say(0, 1, CLICK)
    desk.say(3, 2, Prompts(box=(89, 62, 117, 90)))

    found = desk.track(start=0)

    assert sorted(found) == list(range(LENGTH))
    assert [sorted(found[frame]) for frame in (0, 2, 3, 4)] == [[], [1], [1], [1, 2]]  # 2 is not known before frame 3
    for frame in (4, LENGTH - 1):
        assert iou(found[frame][1], frame) > 0.8
        assert iou(found[frame][2], frame, 2) > 0.8


def test_after_a_restart_tracking_goes_on_as_if_there_had_been_none(desk: Desk) -> None:
    desk.say(0, 1, CLICK)
    desk.say(0, 2, BOX)
    desk.track(most=6, start=0)
    desk.tracker.save()
    uninterrupted = desk.track(start=6)

    desk.log.close()
    rows = desk.log.path.read_bytes().splitlines(keepends=True)
    desk.log.path.write_bytes(b"".join(rows[:5]))  # frames 1 to 5: what there was when the state was saved
    desk.start()

    assert desk.track(start=6) == uninterrupted


@pytest.mark.parametrize("harm", ["missing", "damaged", "another model", "older"])
def test_without_a_state_that_fits_tracking_goes_on_from_prompts_and_masks(desk: Desk, harm: str) -> None:
    desk.say(0, 1, CLICK)
    shown = desk.say(0, 2, BOX)
    desk.track(most=3 if harm == "older" else 7, start=0)
    desk.tracker.save()
    if harm == "older":
        desk.track(most=4, start=3)
    (state,) = desk.log.path.parent.glob("*.safetensors")
    if harm == "missing":
        state.unlink()
    elif harm == "damaged":
        state.write_bytes(state.read_bytes()[:-200])
    elif harm == "another model":
        content = state.read_bytes()
        state.write_bytes(content.replace(b'"model_hash":"', b'"model_hash":"0', 1)[: len(content)])
    desk.log.close()
    desk.start()

    found = desk.track(start=7)

    assert sorted(found) == list(range(7, LENGTH))
    for frame in (7, LENGTH - 1):
        assert iou(found[frame][1], frame) > 0.8
        assert iou(found[frame][2], frame, 2) > 0.8
    here = desk.tracker.session.result_at(0, [2]).masks[0].numpy()
    assert np.array_equal(here, bits(shown))


def test_a_look_ahead_changes_nothing(desk: Desk) -> None:
    desk.say(0, 1, CLICK)
    desk.track(most=5, start=0)
    desk.tracker.save()
    expected = desk.track(start=5)
    desk.log.close()
    rows = desk.log.path.read_bytes().splitlines(keepends=True)
    desk.log.path.write_bytes(b"".join(rows[:4]))
    desk.start()
    desk.tracker.sync(desk.said.values())
    features = desk.runner.run(lambda: desk.tracker.session.features.get(3))
    more = Prompts(points=(Point(x=50, y=38), Point(x=5, y=5, label=0)))

    for object_id in (1, None, 7):
        seen = desk.runner.run(lambda i=object_id: desk.tracker.preview(3, i, more, features))
        assert seen.areas[0] > 0

    assert desk.tracker.session.obj_ids == [1]
    assert desk.track(start=5) == expected


def test_a_correction_is_seen_from_its_frame_on_and_can_be_taken_back(desk: Desk) -> None:
    both, one = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    both[place(0)] = both[place(0, 2)] = one[place(6)] = True
    desk.say(0, 1, Prompts(mask=rle_mask(both)))
    before = desk.track(start=0)
    assert iou(before[7][1], 7) < 0.8

    corrected = desk.say(6, 1, Prompts(mask=rle_mask(one)))  # only one of the squares is meant
    after = desk.track(start=6)

    assert iou(corrected, 6) > 0.95
    assert iou(after[7][1], 7) > iou(before[7][1], 7) + 0.15  # two marked frames contradict each other there
    assert iou(after[LENGTH - 1][1], LENGTH - 1) > 0.95
    assert desk.found(5, 1).mask == before[5][1].mask  # what came before is as it was

    del desk.said[6, 1]
    again = desk.track(start=6)

    assert all(abs(again[frame][1].area - before[frame][1].area) < 50 for frame in (6, 7, LENGTH - 1))


def test_a_drawn_mask_is_refined_by_points(desk: Desk) -> None:
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[20:56, 10:30] = True  # the left half

    alone = desk.say(0, 1, Prompts(mask=rle_mask(drawn)))
    refined = desk.say(0, 1, Prompts(mask=rle_mask(drawn), points=(Point(x=38, y=38),)))

    assert abs(alone.area - drawn.sum()) < 0.1 * drawn.sum()
    assert iou(refined, 0) > iou(alone, 0) + 0.2


def test_both_directions(desk: Desk) -> None:
    desk.say(5, 1, Prompts(points=(Point(x=42, y=38),)))
    desk.say(8, 2, Prompts(box=(75, 63, 101, 89)))

    found = desk.track(start=5, direction="both", stop=9)

    assert sorted(found) == list(range(10))
    assert desk.log.series(1).frames.tolist() == [*range(5), *range(6, 10)]
    assert desk.log.series(2).frames.tolist() == [*range(8), 9]
    assert iou(desk.found(0, 1), 0) > 0.8
    assert iou(desk.found(6, 2), 6, 2) > 0.8


def test_an_object_that_is_removed_comes_back(desk: Desk) -> None:
    desk.say(0, 1, CLICK)
    shown = desk.say(0, 2, BOX)
    gone = desk.said.pop((0, 2))
    assert sorted(desk.track(most=3, start=0)[1]) == [1]

    desk.said[gone.key] = gone
    found = desk.track(most=3, start=0)

    assert sorted(found[1]) == [1, 2]
    assert np.array_equal(desk.tracker.session.result_at(0, [2]).masks[0].numpy(), bits(shown))


def test_saving_replaces_the_former_state(desk: Desk) -> None:
    desk.say(0, 1, CLICK)
    desk.track(most=2, start=0)
    desk.tracker.save()
    desk.tracker.save()

    names = sorted(path.name for path in desk.log.path.parent.iterdir() if path.is_file())
    assert names == ["state-00000002.safetensors", RECORD, "tracked.jsonl"]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"start": 99}, 422, "start must be a frame of the video, 0 to 10, got 99"),
        ({"start": 5, "stop": 2}, 422, "stop must not be before start"),
        ({"start": 5, "stop": 8, "direction": "backward"}, 422, "stop must not be after start"),
        ({"start": 5, "object_ids": (4,)}, 404, "no object 4"),
        ({"start": 5, "object_ids": (3,)}, 422, "object 3 is pointed out on no frame"),
        ({"start": 5, "object_ids": ()}, 422, "at least one"),
        ({"start": 10, "stop": 10, "direction": "backward"}, 422, "no object is pointed out where tracking backward"),
        ({"start": 2, "stop": 3}, 422, "no object is pointed out where tracking forward"),
    ],
)
def test_what_cannot_be_tracked(request_: dict, status: int, words: str) -> None:
    with pytest.raises(StudioError, match=words) as caught:
        plan(TrackRequest(**request_), LENGTH, {1: [5], 2: [7, 9], 3: []})
    assert caught.value.status == status


def test_nothing_to_track() -> None:
    with pytest.raises(StudioError, match="nothing is pointed out yet"):
        plan(TrackRequest(start=0), LENGTH, {1: [], 2: []})


def test_the_way() -> None:
    prompted = {1: [5], 2: [7, 9], 3: []}

    assert plan(TrackRequest(start=5), LENGTH, prompted) == Way((1, 2), range(5, 11), range(0))
    assert plan(TrackRequest(start=9, stop=4, direction="backward", object_ids=(2,)), LENGTH, prompted) == Way(
        (2,), range(0), range(9, 3, -1)
    )
    assert plan(TrackRequest(start=5, direction="both"), LENGTH, prompted) == Way(
        (1, 2), range(5, 11), range(6, -1, -1)
    )


def test_a_video_that_breaks_off_says_where(runner: Runner, frames: FrameSource, tmp_path: Path) -> None:
    class Broken(FrameSource):
        """Frames from 4 on cannot be decoded."""

        def __init__(self) -> None:
            self.num_frames, self.height, self.width = LENGTH, HEIGHT, WIDTH

        def _decode(self, index: int) -> NDArray[np.uint8]:
            if index >= 4:
                raise ValueError(f"/secret/place/clip.mp4 cannot be decoded at frame {index}")
            return frames[index]

    desk = Desk(runner, Broken(), tmp_path)
    desk.say(0, 1, CLICK)

    with pytest.raises(StudioError, match="frame 4 of the video cannot be decoded") as caught:
        desk.track(start=0)

    assert "secret" not in caught.value.detail
    assert desk.log.frames() == [1, 2, 3]
    desk.log.close()
