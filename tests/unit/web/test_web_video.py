"""A video as a project: clicks, tracking with pauses, corrections, and all of it there again when it is opened anew."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

import sam2
from sam2.interop.rle import decode_mask
from sam2.io.video_writer import VideoWriter
from sam2.modeling.sam2_base import SAM2Base
from sam2.web.engine.features import FeatureCache
from sam2.web.engine.prompts import rle_mask
from sam2.web.engine.runner import Runner
from sam2.web.errors import StudioError
from sam2.web.events import EventBus
from sam2.web.jobs import Jobs
from sam2.web.projects.project import Context
from sam2.web.projects.store import ProjectRecord, ProjectStore
from sam2.web.projects.video import VideoProject
from sam2.web.schemas import FrameObject, JobState, NewObject, ObjectChange, Point, Prompts, TrackRequest

HEIGHT, WIDTH, LENGTH = 96, 128, 10
CLICK = Prompts(points=(Point(x=27, y=38),))
PATIENCE = 120.0


def place(frame: int) -> tuple[slice, slice]:
    """Where the object is."""
    return slice(20, 56), slice(10 + 3 * frame, 44 + 3 * frame)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    background = np.random.default_rng(1).integers(60, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    with VideoWriter(path, fps=25) as writer:
        for index in range(LENGTH):
            picture = background.copy()
            picture[place(index)] = (220, 40, 40)
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner(sam2.load("nano"))
    yield runner
    runner.close()


class Room:
    """A project in a folder, opened as the studio does, and what its pages are told."""

    def __init__(self, runner: Runner, folder: Path, video: Path) -> None:
        self.folder, self.video = folder, video
        self.events: list[tuple[str, Any]] = []
        self.bus = EventBus()
        self.bus.publish = lambda project, event, data: self.events.append((event, data))  # type: ignore[method-assign]
        self.jobs = Jobs(self.bus.publish)
        self.context = Context(runner, FeatureCache(runner, 2**28), self.jobs, self.bus)
        record = ProjectRecord(title="clip", kind="video", model="nano", source=str(video))
        self.project = VideoProject(ProjectStore(folder, record), video, self.context)

    def reopen(self) -> None:
        """As after a restart."""
        self.project.close()
        self.project = VideoProject(ProjectStore(self.folder), self.video, self.context)

    def start(self, **request: Any) -> None:
        wanted = TrackRequest(**request)
        project = self.project
        self.jobs.start(project.name, "track", lambda job: project.track(wanted, job))

    def track(self, **request: Any) -> JobState:
        """Track to the end."""
        self.start(**request)
        return self.finish()

    def finish(self) -> JobState:
        wait_for(lambda: not self.jobs.running(self.project.name))
        state = self.jobs.state(self.project.name)
        assert state is not None
        return state


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.01)


@pytest.fixture
def room(runner: Runner, video: Path, tmp_path: Path) -> Iterator[Room]:
    room = Room(runner, tmp_path / "clip", video)
    room.project.add_object(NewObject(name="square", label="toy"))
    yield room
    room.jobs.close()
    room.project.close()


def bits(item: FrameObject) -> NDArray[np.bool_]:
    assert item.mask is not None
    return decode_mask(item.mask.model_dump())


def iou(item: FrameObject, frame: int) -> float:
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[place(frame)] = True
    return (bits(item) & truth).sum() / (bits(item) | truth).sum()


def on(room: Room, frame: int) -> dict[int, FrameObject]:
    return {item.object_id: item for item in room.project.frame(frame).objects}


def test_a_click_is_answered_and_stored(room: Room) -> None:
    item = room.project.set_prompts(0, 1, CLICK)

    assert iou(item, 0) > 0.8
    assert item.prompts == CLICK
    assert item.source == "prompts"
    assert item.area == bits(item).sum()
    assert on(room, 0) == {1: item}
    room.reopen()
    assert on(room, 0) == {1: item}


def test_putting_back_what_was_said_is_undo(room: Room) -> None:
    first = room.project.set_prompts(0, 1, CLICK)
    more = Prompts(points=(*CLICK.points, Point(x=12, y=22, label=0)))
    second = room.project.set_prompts(0, 1, more)

    assert room.project.set_prompts(0, 1, CLICK) == first
    assert room.project.set_prompts(0, 1, more) == second
    assert room.project.set_prompts(0, 1, Prompts()).mask is None
    assert on(room, 0) == {}


def test_a_correction_of_the_frame_that_is_shown_is_prepared(room: Room) -> None:
    """Reading memory is half of its time: that is done before the click, which gives the same."""
    room.project.set_prompts(0, 1, CLICK)
    room.track(direction="forward", start=0)
    correction, fuse = Prompts(points=(Point(x=30, y=38),)), SAM2Base.fuse_memory

    with patch.object(SAM2Base, "fuse_memory", autospec=True, side_effect=fuse) as calls:
        room.project.show(4)
        wait_for(lambda: calls.call_count == 1)
        item = room.project.set_prompts(4, 1, correction)
        room.project.set_prompts(4, 1, Prompts())
        prepared = calls.call_count
        room.project._tracker.session.fused.clear()
        again = room.project.set_prompts(4, 1, correction)

    assert (prepared, calls.call_count) == (1, 2)
    assert item == again


def test_a_drawn_mask_stays_as_it_was_drawn(room: Room) -> None:
    drawn = np.random.default_rng(0).random((HEIGHT, WIDTH)) > 0.5
    item = room.project.set_prompts(2, 1, Prompts(mask=rle_mask(drawn)))

    assert np.array_equal(bits(item), drawn)
    room.track(start=2)
    assert np.array_equal(bits(on(room, 2)[1]), drawn)
    (exported,) = (image for image in room.project.annotated() if image.frame == 2)
    assert np.array_equal(exported.objects[0].mask(), drawn)
    assert exported.objects[0].score is None


def test_a_preview_leaves_no_trace(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    before = on(room, 0)

    for object_id in (1, None):
        seen = room.project.preview(0, Prompts(points=(Point(x=40, y=50),)), object_id=object_id)
        assert decode_mask(seen.mask.model_dump())[38, 27]

    assert on(room, 0) == before
    assert room.project.set_prompts(0, 1, CLICK) == before[1]


def test_tracking_is_told_and_kept(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)

    state = room.track(start=0)

    assert (state.state, state.done, state.total, state.frame) == ("done", LENGTH, LENGTH, LENGTH - 1)
    assert all(iou(on(room, frame)[1], frame) > 0.8 for frame in range(LENGTH))
    assert [on(room, frame)[1].source for frame in (0, 1)] == ["prompts", "tracking"]
    assert [event.frame for kind, event in room.events if kind == "frame"][-1] == LENGTH - 1
    states = room.project.masks(2, 5)
    assert [item.frame for item in states] == [2, 3, 4]
    room.reopen()
    assert room.project.masks(2, 5) == states


def test_the_timeline(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.track(start=0, stop=5)
    room.project.add_object(NewObject())

    line, empty = room.project.timeline().objects

    assert line.prompted == (0,)
    assert line.frames == tuple(range(6))
    assert all(abs(area - 36 * 34 / (HEIGHT * WIDTH)) < 0.02 for area in line.areas)
    assert all(0.5 < score <= 1 for score in line.scores)
    assert (empty.object_id, empty.frames) == (2, ())


def test_the_timeline_follows_every_change(room: Room) -> None:
    def line() -> dict[int, tuple[float, float]]:
        """Frame -> (area, score), as the frames themselves say it; the timeline must agree."""
        (found,) = room.project.timeline().objects
        shown = {
            frame: (area, score) for frame, area, score in zip(found.frames, found.areas, found.scores, strict=True)
        }
        for frame, (area, score) in shown.items():
            item = on(room, frame)[1]
            assert area == pytest.approx(bits(item).sum() / (HEIGHT * WIDTH), abs=1e-6)
            assert score == pytest.approx(item.score, abs=1e-4)
        assert found.prompted == tuple(frame for frame in shown if on(room, frame)[1].prompts is not None)
        return shown

    room.project.set_prompts(0, 1, CLICK)
    assert list(line()) == [0]
    room.track(start=0, stop=3)
    tracked = line()
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[10:20, 10:30] = True
    room.project.set_prompts(2, 1, Prompts(mask=rle_mask(drawn)))
    corrected = line()
    assert corrected[2] == (pytest.approx(200 / (HEIGHT * WIDTH), abs=1e-6), 1.0)
    assert {**tracked, 2: corrected[2]} == corrected
    room.reopen()
    assert line() == corrected
    room.project.set_prompts(2, 1, Prompts())
    assert line()[2][0] != corrected[2][0]
    room.project.change_object(1, ObjectChange(deleted=True))
    assert room.project.timeline().objects == ()
    room.reopen()
    room.project.change_object(1, ObjectChange(deleted=False))
    assert line()[0] == corrected[0]


def test_the_timeline_of_many_corrections_reads_no_file(room: Room) -> None:
    for frame in range(3):
        room.project.set_prompts(frame, 1, CLICK)
    room.reopen()
    expected = room.project.timeline()

    shutil.rmtree(room.folder / "frames")

    assert room.project.timeline() == expected


def test_a_correction_changes_other_frames_only_when_tracking_runs_again(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.track(start=0, stop=6)
    before = {frame: on(room, frame)[1] for frame in range(7)}
    drawn = bits(before[3]) & (np.arange(HEIGHT)[:, None] < 38)

    room.project.set_prompts(3, 1, Prompts(mask=rle_mask(drawn)))

    for frame in (0, 1, 2, 4, 5, 6):
        assert on(room, frame)[1] == before[frame]
    room.reopen()
    assert on(room, 4)[1] == before[4]
    room.track(start=3, stop=6)
    assert (bits(on(room, 3)[1]) == drawn).all()
    assert [on(room, frame)[1] for frame in range(3)] == [before[frame] for frame in range(3)]
    assert bits(on(room, 4)[1]).sum() < bits(before[4]).sum()


def test_a_click_pauses_tracking_and_is_answered(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.start(start=0)
    wait_for(lambda: len(room.project.masks(0, LENGTH)) >= 3)

    corrected = room.project.set_prompts(1, 1, Prompts(points=(Point(x=30, y=38), Point(x=5, y=5, label=0))))

    paused = room.finish()
    assert paused.state == "paused"
    assert iou(corrected, 1) > 0.8
    assert room.track(start=1).state == "done"
    assert len(room.project.masks(0, LENGTH)) == LENGTH


def test_pausing_and_going_on(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.start(start=0)
    wait_for(lambda: len(room.project.masks(0, LENGTH)) >= 3)

    state = room.jobs.stop(room.project.name)

    assert state.state == "paused"
    kept = room.project.masks(0, LENGTH)
    assert 3 <= len(kept) < LENGTH
    room.reopen()
    assert room.project.masks(0, LENGTH) == kept
    assert state.frame is not None
    assert room.track(start=state.frame).state == "done"
    assert all(iou(on(room, frame)[1], frame) > 0.8 for frame in range(LENGTH))


def test_looking_on_while_tracking_goes_on(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.start(start=0)
    wait_for(lambda: len(room.project.masks(0, LENGTH)) >= 2)

    room.project.show(0)
    room.project.preview(0, Prompts(points=(Point(x=20, y=50),)), object_id=1)
    room.project.change_object(1, ObjectChange(name="other"))

    assert room.finish().state == "done"


def test_a_deleted_object_comes_back_with_its_masks(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.track(start=0, stop=4)
    before = room.project.masks(0, LENGTH)

    room.project.change_object(1, ObjectChange(deleted=True))
    assert room.project.masks(0, LENGTH) == []
    assert room.project.timeline().objects == ()
    with pytest.raises(StudioError, match="nothing is pointed out"):
        room.project.check_track(TrackRequest(start=0))
    room.project.change_object(1, ObjectChange(deleted=False))

    assert room.project.masks(0, LENGTH) == before
    assert room.track(start=4).state == "done"
    assert iou(on(room, LENGTH - 1)[1], LENGTH - 1) > 0.8


def test_a_full_disk_ends_tracking_and_keeps_what_is_done(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.project.set_prompts(0, 1, CLICK)
    append = room.project._log.append

    def full(frame: int, masks: Any) -> None:
        if frame > 3:
            raise OSError(28, "No space left on device", str(room.folder))
        append(frame, masks)

    with monkeypatch.context() as patch:
        patch.setattr(room.project._log, "append", full)
        state = room.track(start=0)

    assert (state.state, state.done) == ("failed", 4)
    assert state.message == "the disk is full: what was done so far is kept"
    assert [item.frame for item in room.project.masks(0, LENGTH)] == [0, 1, 2, 3]
    assert room.track(start=3).state == "done"


def test_what_was_found_is_tracked_like_what_was_drawn(room: Room) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[place(0)] = True
    (found,) = room.project.add_found(0, [rle_mask(mask)], label="toy", scores=[0.9])

    room.track(start=0, stop=3, object_ids=(found.object_id,))

    assert iou(on(room, 3)[found.object_id], 3) > 0.8
    assert on(room, 0)[found.object_id].source == "everything"


def test_frames_for_exports(room: Room) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.track(start=0, stop=3)
    room.project.set_status(2, "done")

    images = list(room.project.annotated())

    assert [image.frame for image in images] == [0, 1, 2, 3]
    assert [image.name for image in images][:2] == ["clip/00000.jpg", "clip/00001.jpg"]
    assert {(item.label, item.track_id) for image in images for item in image.objects} == {("toy", 1)}
    assert images[0].video is not None
    assert (images[0].video.name, images[0].video.num_frames, images[0].video.fps) == ("clip.mp4", LENGTH, 25)
    assert [image.frame for image in room.project.annotated(only_done=True)] == [2]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (Prompts(box=(5, 5, 5, 9)), "box must be"),
        (Prompts(mask=rle_mask(np.ones((4, 4), bool))), "mask must be 128 x 96"),
        (Prompts(box=(1, 1, 9, 9), mask=rle_mask(np.ones((HEIGHT, WIDTH), bool))), "exclude each other"),
    ],
)
def test_prompts_that_make_no_sense(room: Room, prompts: Prompts, words: str) -> None:
    for ask in (lambda: room.project.set_prompts(0, 1, prompts), lambda: room.project.preview(0, prompts)):
        with pytest.raises(StudioError, match=words) as caught:
            ask()
        assert caught.value.status == 422
    with pytest.raises(StudioError) as caught:
        room.project.set_prompts(LENGTH, 1, CLICK)
    assert caught.value.status == 404
    with pytest.raises(StudioError) as caught:
        room.project.set_prompts(0, 9, CLICK)
    assert caught.value.status == 404


def test_many_threads_at_once(room: Room) -> None:
    errors: list[Exception] = []

    def click(frame: int) -> None:
        try:
            for _ in range(2):
                room.project.set_prompts(frame, 1, Prompts(points=(Point(x=27 + 3 * frame, y=38),)))
                room.project.preview(frame, CLICK, object_id=1)
                room.project.frame(frame)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=click, args=(frame,)) for frame in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert not errors
    assert all(iou(on(room, frame)[1], frame) > 0.8 for frame in range(4))


@pytest.mark.filterwarnings("ignore:.* is cut short")
def test_a_video_that_is_cut_short_is_tracked_as_far_as_it_goes(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    noise = np.random.default_rng(1)
    with VideoWriter(path, fps=5) as writer:
        for index in range(2 * LENGTH):
            picture = noise.integers(60, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            picture[place(index // 2)] = (220, 40, 40)
            writer.write(picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    room = Room(runner, tmp_path / "cut", path)
    try:
        room.project.add_object(NewObject())
        room.project.set_prompts(0, 1, CLICK)
        state = room.track(start=0)
        states = room.project.masks(0, 2 * LENGTH)
    finally:
        room.project.close()

    assert room.project.num_frames < 2 * LENGTH
    assert (state.state, state.done) == ("done", room.project.num_frames)
    assert state.message.startswith("the video is cut short: ")
    assert len(states) == room.project.num_frames


@pytest.mark.parametrize(("name", "content", "status"), [("gone.mp4", None, 404), ("text.mp4", b"no video", 415)])
def test_a_source_that_cannot_be_opened(
    runner: Runner, tmp_path: Path, name: str, content: bytes | None, status: int
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    record = ProjectRecord(title="clip", kind="video", model="nano", source=str(path))
    store = ProjectStore(tmp_path / "project", record)
    jobs = Jobs(EventBus().publish)

    with pytest.raises(StudioError, match=name) as caught:
        VideoProject(store, path, Context(runner, FeatureCache(runner, 2**20), jobs, EventBus()))

    assert caught.value.status == status
    assert str(tmp_path) not in caught.value.detail
    store.close()


def test_of_a_video_that_is_gone_the_masks_are_still_there(room: Room, video: Path, tmp_path: Path) -> None:
    room.project.set_prompts(0, 1, CLICK)
    room.track(direction="forward", start=0, stop=3)
    before, state = [room.project.frame(frame) for frame in range(4)], room.project.state()
    room.video = shutil.copy(video, tmp_path / "copy.mp4")
    room.reopen()
    room.project.close()
    room.video.unlink()

    room.project = VideoProject(ProjectStore(room.folder), room.video, room.context)
    assert [room.project.frame(frame) for frame in range(4)] == before
    assert (room.project.num_frames, room.project.fps) == (state.num_frames, state.fps)
    assert len([*room.project.annotated()]) == 4
    assert room.project.timeline().num_frames == LENGTH
    assert room.project.change_object(1, ObjectChange(name="gone")).name == "gone"
    refused = (
        lambda: room.project.picture(0),
        lambda: room.project.set_prompts(1, 1, CLICK),
        lambda: room.project.preview(1, CLICK, object_id=1),
        lambda: room.project.check_track(TrackRequest(direction="forward", start=0)),
        lambda: room.project.picture_tag(0),
    )
    for call in refused:
        with pytest.raises(StudioError, match=r"copy\.mp4|gone") as caught:
            call()
        assert caught.value.status == 404
    assert room.project.small_picture(0) is None
    assert not room.project.source_is_back
    shutil.copy(video, room.video)
    assert room.project.source_is_back
    room.reopen()
    assert not room.project.source_is_back
    assert iou(room.project.set_prompts(1, 1, Prompts(points=(Point(x=30, y=38),))), 1) > 0.7
