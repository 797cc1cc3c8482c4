"""Everything in a video: shapes that move, enter and leave, found by a proposer that sees them as they are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sam2
from sam2.automatic import MaskProposal, VideoMaskGenerator, VideoMaskOptions
from sam2.automatic.newcomers import Rules, find_newcomers, on_grid
from sam2.interop.annotations import VideoInfo
from sam2.interop.rle import encode_mask
from sam2.tracking.annotate import annotate
from sam2.tracking.results import FrameResult
from sam2.tracking.session import VideoSession

HEIGHT, WIDTH, FRAMES = 120, 160, 24
COLOURS = {1: (220, 40, 40), 2: (40, 60, 220), 3: (240, 220, 60)}


def shapes(frame: int) -> dict[int, np.ndarray]:
    """A disc that goes right, a box that stays until frame 12, and a disc that comes at frame 9."""
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    found = {1: (xx - 30 - 2 * frame) ** 2 + (yy - 35) ** 2 < 22**2}
    if frame < 12:
        found[2] = (abs(xx - 40) < 20) & (abs(yy - 90) < 15)
    if frame >= 9:
        found[3] = (xx - 120) ** 2 + (yy - 85) ** 2 < 20**2
    return found


def picture(frame: int) -> np.ndarray:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([100 + yy // 4, 100 + xx // 8, 120 + 0 * xx], -1).astype(np.uint8)
    image[..., 2] = frame  # so that the proposer knows which one it is shown
    for name, mask in shapes(frame).items():
        image[mask, :2] = COLOURS[name][:2]
    return image


def proposal(mask: np.ndarray, iou: float = 0.9) -> MaskProposal:
    return MaskProposal(encode_mask(mask), (0, 0, 0, 0), iou, 1.0, (0.0, 0.0), (0, 0, WIDTH, HEIGHT))


class ScriptedSession:
    """A tracker that never errs: it follows whatever shape it was prompted with, wherever that goes."""

    def __init__(self, model) -> None:
        self.model, self.size, self.tracks = model, (HEIGHT, WIDTH), {}
        self._frame = -1
        self.features = self

    def get(self, frame):
        """The features of a frame."""
        side = self.model.image_size // 16
        maps = [torch.zeros(1, self.model.config.d_model // n, side * k, side * k) for n, k in ((1, 1), (8, 4), (4, 2))]
        return SimpleNamespace(embed=maps[0], high_res=(maps[1], maps[2]))

    def step(self, image) -> FrameResult:
        self._frame = int(image[0, 0, 2])
        return self.result_at(self._frame)

    def add_mask(self, frame, obj_id, mask) -> None:
        names = shapes(frame)
        self.tracks[obj_id] = max(names, key=lambda name: (names[name] & mask).sum())

    def remove_object(self, obj_id) -> None:
        del self.tracks[obj_id]

    def result_at(self, frame) -> FrameResult:
        here = shapes(frame)
        blank = np.zeros((HEIGHT, WIDTH), bool)
        grids = [on_grid(here.get(name, blank), 128) for name in self.tracks.values()]
        low_res = torch.from_numpy(np.array(grids, np.float32).reshape(-1, 1, 128, 128)) * 20 - 10
        scores = low_res.flatten(1).amax(1) if grids else low_res.flatten()
        return FrameResult(frame, tuple(self.tracks), low_res, scores, scores * 0 + 0.9, self.size)

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch) -> None:
    monkeypatch.setattr("sam2.automatic.video.VideoSession", ScriptedSession)


class Oracle:
    """Proposes the shapes of a frame, and remembers when it was asked."""

    def __init__(self, extra: list[np.ndarray] | None = None) -> None:
        self.asked: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.extra = extra or []

    def propose(self, image, *, features=None) -> list[MaskProposal]:
        frame = int(image[0, 0, 2])
        self.asked.append(frame)
        self.sizes.append(features.sizes[0])
        return [proposal(mask) for mask in (*shapes(frame).values(), *self.extra)]


def clip(frames: int = FRAMES):
    return (picture(frame) for frame in range(frames))


def run(model, oracle=None, frames=None, **options):
    generator = VideoMaskGenerator(model, oracle or Oracle(), VideoMaskOptions(keyframe_every=8, **options))
    return list(generator.generate(clip() if frames is None else frames))


def iou(result, obj_id: int, mask: np.ndarray) -> float:
    found = result.mask(obj_id).numpy()
    return (found & mask).sum() / (found | mask).sum()


def test_objects_are_found_followed_and_numbered_for_good(nano, scripted) -> None:
    oracle = Oracle()
    results = run(nano, oracle)

    assert [result.frame_idx for result in results] == list(range(FRAMES))
    assert oracle.asked == [0, 8, 16]
    assert oracle.sizes == [(HEIGHT, WIDTH)] * 3
    assert [result.obj_ids for result in results] == [(1, 2)] * 16 + [(1, 2, 3)] * 8
    assert [bool(result.areas[1]) for result in results] == [True] * 12 + [False] * 12
    assert iou(results[16], 3, shapes(16)[3]) > 0.8


def test_what_stays_away_is_given_up_and_its_number_with_it(nano, scripted) -> None:
    results = run(nano, retire_after=4)

    # the box was last seen on frame 11
    assert [result.obj_ids for result in results] == [(1, 2)] * 15 + [(1,)] + [(1, 3)] * 8


def test_what_comes_back_in_time_keeps_its_number(nano, scripted, monkeypatch) -> None:
    plain = shapes
    away = [12, 13, 14]
    monkeypatch.setitem(
        globals(),
        "shapes",
        lambda frame: {n: m for n, m in plain(min(frame, 8)).items() if n == 1 or frame not in away},
    )

    assert {result.obj_ids for result in run(nano, retire_after=4)} == {(1, 2)}
    assert run(nano, retire_after=3)[-1].obj_ids == (1, 3)


def test_the_tracker_itself(nano) -> None:
    results = run(nano, frames=clip(9))

    assert {result.obj_ids for result in results} == {(1, 2)}
    for result in results:
        assert iou(result, 1, shapes(result.frame_idx)[1]) > 0.6
        assert iou(result, 2, shapes(result.frame_idx)[2]) > 0.6


def test_no_more_objects_than_allowed(nano) -> None:
    results = run(nano, max_objects=1)

    assert {result.obj_ids for result in results} == {(1,)}


def test_a_part_of_what_is_followed_is_not_new(nano) -> None:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    speck = (xx == 100) & (yy == 10)
    part = (xx - 30) ** 2 + (yy - 35) ** 2 < 9**2
    whole_frame = np.ones((HEIGHT, WIDTH), bool)
    results = run(nano, Oracle([part, speck, whole_frame]), frames=clip(4))

    assert {result.obj_ids for result in results} == {(1, 2)}


def test_two_that_have_become_one(nano, scripted) -> None:
    """One disc, which the first search sees as two things."""
    _yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    disc = shapes(0)[1]

    class Double(Oracle):
        def propose(self, image, *, features=None) -> list[MaskProposal]:
            super().propose(image, features=features)
            return [proposal(disc & (xx < 30)), proposal(disc & (xx >= 30))] if self.asked == [0] else []

    results = run(nano, Double())

    # the first key frame that shows it may be chance
    assert [result.obj_ids for result in results] == [(1, 2)] * 16 + [(1,)] * 8


def test_non_overlap(nano) -> None:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    disc = (xx - 30) ** 2 + (yy - 35) ** 2 < 18**2
    beside = (xx - 50) ** 2 + (yy - 35) ** 2 < 18**2
    options = {"rules": Rules(covered_below=0.9, iou_below=0.9)}
    oracle = Oracle([disc, beside])

    plain, apart = (run(nano, oracle, frames=clip(2), non_overlap=flag, **options) for flag in (False, True))

    assert plain[0].masks.sum(0).max() == 2
    assert apart[0].masks.sum(0).max() == 1


def test_one_frame_and_frames_without_anything(nano) -> None:
    class Blind(Oracle):
        def propose(self, image, *, features=None) -> list[MaskProposal]:
            return []

    assert [result.obj_ids for result in run(nano, frames=clip(1))] == [(1, 2)]
    results = run(nano, Blind(), frames=clip(3))
    assert [result.obj_ids for result in results] == [()] * 3
    assert results[0].masks.shape == (0, HEIGHT, WIDTH)


def test_progress_cancel_and_sources(nano, tmp_path) -> None:
    generator = VideoMaskGenerator(nano, Oracle(), VideoMaskOptions(keyframe_every=50))
    calls: list = []
    array = np.stack([picture(frame) for frame in range(3)])

    assert len(list(generator.generate(array, progress=lambda *call: calls.append(call)))) == 3
    assert calls == [(1, 3), (2, 3), (3, 3)]
    calls.clear()
    list(generator.generate(iter(array), progress=lambda *call: calls.append(call)))
    assert calls[-1] == (3, None)
    assert len(list(generator.generate(array, cancel=lambda: len(calls) == 3))) == 0
    with pytest.raises(ValueError, match="video has no frame"):
        list(generator.generate(iter([])))
    with pytest.raises(FileNotFoundError):
        next(generator.generate(tmp_path / "none.mp4"))


def test_leaving_early_frees_the_frames(nano) -> None:
    left = []

    def frames():
        try:
            yield from clip()
        finally:
            left.append(True)

    generation = VideoMaskGenerator(nano, Oracle()).generate(frames())
    next(generation)
    generation.close()

    assert left == [True]


def test_memory_is_bounded_by_the_number_of_objects(nano, monkeypatch) -> None:
    sessions = []

    class Watched(VideoSession):
        def __init__(self, model) -> None:
            super().__init__(model)
            sessions.append(self)

    monkeypatch.setattr("sam2.automatic.video.VideoSession", Watched)
    held = []
    for _ in VideoMaskGenerator(nano, Oracle(), VideoMaskOptions(keyframe_every=4)).generate(clip(40)):
        tracks = sessions[0].tracks.values()
        held.append(max(len(track.bank.recent) + len(track.bank.prompted) for track in tracks))

    assert held[5] < held[-1]
    assert held[20:] == [held[20]] * 20


def test_with_the_mask_generator_itself(nano) -> None:
    generator = sam2.SAM2AutomaticMaskGenerator(
        nano, points_per_side=6, pred_iou_thresh=0.3, stability_score_thresh=0.6
    )
    results = list(VideoMaskGenerator(nano, generator).generate(clip(3)))

    assert len(results[0].obj_ids) >= 1
    assert results[2].obj_ids == results[0].obj_ids


def test_newcomers_begin_with_the_thing_before_its_parts() -> None:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    whole = (xx - 60) ** 2 + (yy - 60) ** 2 < 40**2
    part = (xx - 60) ** 2 + (yy - 60) ** 2 < 20**2
    other = xx > 130
    proposals = [proposal(part, 0.95), proposal(whole, 0.9), proposal(other, 0.7)]
    nothing = np.zeros((0, 64, 64), bool)

    assert find_newcomers(proposals, nothing, Rules()) == [proposals[1], proposals[2]]
    assert find_newcomers(proposals, nothing, Rules(), limit=1) == [proposals[1]]
    assert find_newcomers(proposals, on_grid(whole, 64)[None], Rules()) == [proposals[2]]
    assert find_newcomers([], nothing, Rules()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyframe_every": 0}, "keyframe_every must be a whole number of at least 1, got 0"),
        ({"max_objects": 2.5}, "max_objects"),
        ({"retire_after": True}, "retire_after"),
        ({"same_above": 0}, "same_above"),
    ],
)
def test_wrong_options(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        VideoMaskOptions(**options)


def test_wrong_rules() -> None:
    with pytest.raises(ValueError, match=r"covered_below must be in 0\.\.1, got 2"):
        Rules(covered_below=2)
    with pytest.raises(ValueError, match="min_area must not be above max_area"):
        Rules(min_area=0.5, max_area=0.1)


def test_results_as_annotations(nano) -> None:
    result = run(nano, frames=clip(2))[1]
    video = VideoInfo("clip", WIDTH, HEIGHT, 2, 25.0)

    image = annotate(result, video, labels={2: "box"}, default_label="thing")

    assert (image.name, image.frame, image.video, image.size) == ("00001", 1, video, (HEIGHT, WIDTH))
    assert [(item.track_id, item.label) for item in image.objects] == [(1, "thing"), (2, "box")]
    for item, mask in zip(image.objects, result.masks, strict=True):
        assert torch.equal(torch.from_numpy(item.mask()), mask)
        assert 0 <= item.score <= 1
        assert 0 <= item.attributes["predicted_iou"] <= 1
    empty = annotate(result, video)
    assert len(empty.objects) == 2
