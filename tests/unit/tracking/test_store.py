"""A session that is saved and resumed goes on as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_tracker import LENGTH, clip, new_tracker, tracker

from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession
from sam2.tracking.store import load_into, save_session

HALF = 9
ALL_IN_MEMORY, SOME_ON_DISK, ALL_ON_DISK, NO_HISTORY = 2**25, 200_000, 0, None


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    return SAM2VideoPredictor(tracker())


def half_way(predictor: SAM2VideoPredictor, budget: int | None = ALL_IN_MEMORY):
    """Two objects, tracked to the middle; the second one is corrected there, which no tracking has used yet."""
    state = predictor.init_state(clip(), history_budget=budget)
    predictor.add_new_points_or_box(state, 0, 5, points=[[40, 40]], labels=[1])
    predictor.add_new_mask(state, 2, -3, clip()[2, :, :, 2] > 200)
    list(predictor.propagate_in_video(state, max_frame_num_to_track=HALF))
    predictor.add_new_points_or_box(state, HALF, -3, points=[[60, 60]], labels=[0])
    return state


def same(a, b) -> None:
    """Two results of the official form, bit for bit."""
    assert a[:2] == b[:2]
    assert torch.equal(a[2], b[2]), f"frame {a[0]}: off by {(a[2] - b[2]).abs().max():.1e}"


@pytest.mark.parametrize("budget", [ALL_IN_MEMORY, SOME_ON_DISK, ALL_ON_DISK, NO_HISTORY])
def test_it_goes_on_bit_for_bit(predictor, budget: int | None, tmp_path: Path) -> None:
    state = half_way(predictor, budget)
    predictor.save_state(state, tmp_path / "state")

    resumed = predictor.load_state(tmp_path / "state", clip(), history_budget=budget)

    assert resumed.obj_ids == [5, -3]
    for options in ({"start_frame_idx": HALF}, {"start_frame_idx": 7, "reverse": True}):
        runs = [predictor.propagate_in_video(one, **options) for one in (state, resumed)]
        for a, b in zip(*runs, strict=True):
            same(a, b)
    for frame in (1, 12):  # a correction starts from the mask that is there
        same(*[predictor.add_new_points_or_box(one, frame, 5, [[9, 9]], [0]) for one in (state, resumed)])


def test_what_is_read_of_it_is_the_same(predictor, tmp_path: Path) -> None:
    state = half_way(predictor)
    predictor.save_state(state, tmp_path / "state")
    resumed = predictor.load_state(str(tmp_path / "state"), clip())

    for key in ("obj_id_to_idx", "obj_idx_to_id", "obj_ids"):
        assert list(resumed[key]) == list(state[key])
    for idx in (0, 1):
        tracked = "frames_tracked_per_obj"
        assert dict(resumed[tracked][idx]) == dict(state[tracked][idx])
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
            for outputs in ("output_dict_per_obj", "temp_output_dict_per_obj"):
                want, found = state[outputs][idx][kind], resumed[outputs][idx][kind]
                assert list(found) == list(want)
                for frame in want:
                    assert torch.equal(found[frame]["pred_masks"], want[frame]["pred_masks"])
                    assert torch.equal(found[frame]["obj_ptr"], want[frame]["obj_ptr"])
    assert torch.equal(resumed["mask_inputs_per_obj"][1][2], state["mask_inputs_per_obj"][1][2])
    assert torch.equal(
        resumed["point_inputs_per_obj"][0][0]["point_coords"], state["point_inputs_per_obj"][0][0]["point_coords"]
    )


_OTHER_PROCESS = """
import sys
import torch
from safetensors.torch import save_file
from small_tracker import clip, tracker
from sam2.sam2_video_predictor import SAM2VideoPredictor

predictor = SAM2VideoPredictor(tracker())
state = predictor.load_state(sys.argv[1], clip())
results = predictor.propagate_in_video(state, start_frame_idx=int(sys.argv[2]))
save_file({str(frame): logits for frame, _, logits in results}, sys.argv[3])
"""


def test_it_goes_on_in_another_process(predictor, tmp_path: Path) -> None:
    state = half_way(predictor)
    predictor.save_state(state, tmp_path / "state")
    command = [sys.executable, "-c", _OTHER_PROCESS, str(tmp_path / "state"), str(HALF), str(tmp_path / "out")]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # the order of sums
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, **threads}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    with safe_open(tmp_path / "out", framework="pt") as file:
        for frame, _, logits in predictor.propagate_in_video(state, start_frame_idx=HALF):
            assert torch.equal(file.get_tensor(str(frame)), logits)
        assert len(file.keys()) == LENGTH - HALF


def test_a_stream_goes_on(tmp_path: Path) -> None:
    stream = VideoSession(tracker())
    for t in range(HALF):
        stream.step(clip()[t])
        if t == 0:
            stream.add_points(0, 1, points=[[40, 40]], labels=[1])
    stream.add_points(HALF - 1, 2, points=[[90, 60]], labels=[1])
    save_session(stream, tmp_path / "state")

    resumed = VideoSession(tracker())
    load_into(resumed, tmp_path / "state")

    assert resumed.num_frames == HALF
    assert resumed.size == stream.size
    for t in range(HALF, LENGTH):
        want, found = stream.step(clip()[t]), resumed.step(clip()[t])
        assert (found.frame_idx, found.obj_ids) == (t, (1, 2))
        assert torch.equal(found.low_res, want.low_res)


def test_a_session_without_objects(predictor, tmp_path: Path) -> None:
    save_session(predictor.init_state(clip()), tmp_path / "video")
    save_session(VideoSession(tracker()), tmp_path / "stream")

    assert predictor.load_state(tmp_path / "video", clip()).obj_ids == []
    resumed = VideoSession(tracker())
    load_into(resumed, tmp_path / "stream")
    assert resumed.step(clip()[0]).frame_idx == 0


def test_it_is_small_and_holds_no_frames(predictor, tmp_path: Path) -> None:
    state = half_way(predictor)
    predictor.save_state(state, tmp_path / "state")

    side, channels, memory = 64, 32, 16**3
    per_object_frame = 4 * side**2 + 2 * memory + 4 * channels
    outputs = 2 * (HALF + 1) + 1  # and the draft
    prompts = 256**2 // 8 + 100
    assert (tmp_path / "state").stat().st_size < 1.1 * outputs * (per_object_frame + 1000) + prompts
    with safe_open(tmp_path / "state", framework="pt") as file:
        assert not any(file.get_tensor(name).numel() > side**2 * 2 for name in file.keys())  # noqa: SIM118


def test_a_file_is_replaced_only_by_a_whole_one(predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    predictor.save_state(half_way(predictor), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("sam2.io.tensor_file._write", full)
    with pytest.raises(OSError, match="no space"):
        predictor.save_state(half_way(predictor), path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- files that are refused


@pytest.fixture(scope="module")
def saved(predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "state.sam2"
    predictor.save_state(half_way(predictor), path)
    return path


def test_another_model_is_refused(saved: Path) -> None:
    other = new_tracker(bias=3.0)

    with pytest.raises(ValueError, match=r"was made by small tracker with weights .*, this is small tracker with"):
        SAM2VideoPredictor(other).load_state(saved, clip())
    other.set_image_size(512)
    with pytest.raises(ValueError, match="at image_size 256, this is small tracker at 512"):
        SAM2VideoPredictor(other).load_state(saved, clip())


def test_another_video_is_refused(predictor, saved: Path) -> None:
    with pytest.raises(ValueError, match=f"a video of {LENGTH} frames of 128 x 96 pixels, this one has 5 of 128 x 96"):
        predictor.load_state(saved, clip()[:5])
    with pytest.raises(ValueError, match="is of a video, the session has a stream"):
        load_into(VideoSession(predictor), saved)


def test_a_session_that_is_in_use_is_not_overwritten(predictor, saved: Path) -> None:
    state = half_way(predictor)

    with pytest.raises(RuntimeError, match=r"has objects \[5, -3\]"):
        load_into(state, saved)
    state.reset()
    load_into(state, saved)
    assert state.obj_ids == [5, -3]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [_cut, _flip, lambda _: b"", lambda _: b"no session at all", lambda x: x[:-1]])
def test_damaged_files(predictor, saved: Path, damage, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(damage(saved.read_bytes()))
    state = predictor.init_state(clip())

    with pytest.raises(ValueError, match=str(path)):
        load_into(state, path)

    assert state.obj_ids == []


def test_files_of_something_else(predictor, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})

    with pytest.raises(ValueError, match="holds no session"):
        predictor.load_state(path, clip())
    with pytest.raises(FileNotFoundError, match="no such session file"):
        predictor.load_state(tmp_path / "nothing", clip())


def test_the_record_says_what_is_in_the_file(saved: Path) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()

    assert (metadata["format"], metadata["model"]) == ("sam2-session-1", "small tracker")
    record = json.loads(metadata["session"])
    assert [track["obj_id"] for track in record["tracks"]] == [5, -3]
