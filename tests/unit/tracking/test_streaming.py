"""A stream gives what the video gives, frame by frame, in constant memory."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_tracker import LENGTH, SIZE, assert_same, click, clip, gap, logits, new_tracker, session, stream, tracker

from sam2.tracking import VideoSession

EARLY, LATE = 3, 12


def test_a_stream_equals_the_video() -> None:
    offline = session()
    click(offline, 0)
    offline.add_points(0, 2, box=[60, 40, 120, 90])

    _, results = stream(
        tracker(), clip(), {0: [lambda v: click(v, 0), lambda v: v.add_points(0, 2, box=[60, 40, 120, 90])]}
    )

    assert [result.frame_idx for result in results] == list(range(LENGTH))
    assert_same(logits(results), logits(offline.propagate()), exact=True)


def test_prompts_on_later_frames() -> None:
    """Offline, prompts of the future are read as well: the object of the later prompt is compared, and a video that
    is tracked up to its prompt."""
    offline = session(history=2**30)
    click(offline, EARLY, 1)
    click(offline, LATE, 2, at=(90, 60))
    want = logits(offline.propagate())

    _, results = stream(
        tracker(), clip(), {EARLY: [lambda v: click(v, EARLY, 1)], LATE: [lambda v: click(v, LATE, 2, at=(90, 60))]}
    )
    got = logits(results)

    assert results[0].obj_ids == results[EARLY - 1].obj_ids == ()
    assert (1, LATE - 1) in got
    assert (2, LATE - 1) not in got
    assert_same(got, want, keys=got.keys())


@pytest.mark.parametrize("at", [1, 5, 7, LATE])
def test_corrections_on_the_current_frame(at: int) -> None:
    """Seven frames back is where the window of memories ends."""
    offline = session(history=2**30)
    click(offline, 0)
    want = logits(offline.propagate(num_frames=at + 1))
    click(offline, at, at=(100, 80), label=0)
    want.update(logits(offline.propagate(start=at)))

    _, results = stream(
        tracker(), clip(), {0: [lambda v: click(v, 0)], at: [lambda v: click(v, at, at=(100, 80), label=0)]}
    )

    assert_same(logits(results), want, exact=True)


def test_two_corrections_of_one_frame() -> None:
    video, _ = stream(tracker(), clip()[:10], {0: [lambda v: click(v, 0)]})
    first = click(video, 9, at=(100, 80), label=0)
    second = video.add_points(9, 1, points=[[20, 20]], labels=[1], clear_old_points=False)

    assert len(video.tracks[1].prompts[9].points) == 2
    assert gap(first.low_res, second.low_res) > 0.01
    assert torch.equal(video.result_at(9).low_res, second.low_res)


def test_frames_of_any_kind() -> None:
    frame = clip()[0]
    kinds = [frame, torch.from_numpy(frame.copy()).permute(2, 0, 1), Image.fromarray(frame)]
    seen = []
    for kind in kinds:
        video = VideoSession(tracker())
        video.step(kind)
        seen.append(click(video, 0).low_res)

    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_what_a_stream_keeps_does_not_grow() -> None:
    video = VideoSession(tracker())
    sizes = []
    for t in range(40):
        video.step(clip(40)[t])
        if t == 0:
            click(video, 0, 1)
            click(video, 0, 2, at=(90, 60))
        tracks = video.tracks.values()
        held = [output for track in tracks for output in (*track.bank.prompted.values(), *track.bank.recent.values())]
        sizes.append((len(held), sum(output.num_bytes for output in held), sum(len(t.bank.directions) for t in tracks)))

    assert len(set(sizes[17:])) == 1
    with_memory = [t for t, output in video.tracks[1].bank.recent.items() if output.memory is not None]
    with_masks = [t for t, output in video.tracks[1].bank.recent.items() if output.logits is not None]
    assert with_memory == list(range(33, 40))
    assert with_masks == [39]
    assert len(video.tracks[1].bank.recent) == 16


def test_an_object_is_removed_and_added_in_a_stream() -> None:
    def change(video: VideoSession) -> None:
        video.remove_object(1)
        click(video, 5, 3, at=(90, 60))

    _, results = stream(tracker(), clip()[:10], {0: [lambda v: click(v, 0, 1)], 5: [change]})

    assert [result.obj_ids for result in results] == [(1,)] * 5 + [(3,)] * 5


def test_a_stream_without_objects_gives_empty_results() -> None:
    video = VideoSession(tracker())
    result = video.step(clip()[0])

    assert len(result) == 0
    assert result.masks.shape == (0, *SIZE)
    assert result.boxes.shape == (0, 4)
    assert result.as_tuple()[2].shape == (0, 1, *SIZE)


def test_after_a_reset_a_stream_goes_on() -> None:
    video, _ = stream(tracker(), clip()[:6], {0: [lambda v: click(v, 0)]})
    video.reset()
    result = video.step(clip()[6])
    click(video, 6, 4)

    assert result.frame_idx == 6
    assert result.obj_ids == ()
    assert video.step(clip()[7]).obj_ids == (4,)


def test_prompts_are_for_the_last_frame() -> None:
    video, _ = stream(tracker(), clip()[:6], {0: [lambda v: click(v, 0)]})
    with pytest.raises(RuntimeError, match="frame 3 of this stream is gone"):
        click(video, 3)
    with pytest.raises(ValueError, match=r"frame_idx must be in 0\.\.5, got 6"):
        click(video, 6)


def test_before_its_first_frame_a_stream_takes_no_prompt() -> None:
    video = VideoSession(tracker())
    with pytest.raises(ValueError, match="there is no frame yet"):
        click(video, 0)
    with pytest.raises(RuntimeError, match="no frame yet"):
        _ = video.size


def test_frames_have_one_size() -> None:
    video = VideoSession(tracker())
    video.step(clip()[0])
    click(video, 0)
    with pytest.raises(ValueError, match=r"frame must have the size of the first one, \(96, 128\), got \(96, 64\)"):
        video.step(clip()[1][:, :64])

    assert video.num_frames == 1
    assert video.step(clip()[1]).frame_idx == 1


def test_a_video_is_not_stepped_and_a_stream_not_propagated() -> None:
    with pytest.raises(RuntimeError, match="call propagate"):
        session().step(clip()[0])
    with pytest.raises(RuntimeError, match="call step"):
        VideoSession(tracker()).propagate()


def test_a_short_stream_reads_pointers_at_the_scale_of_a_long_one() -> None:
    """A stream does not know its length: the first frames come out as those of a video of 16 frames or more."""
    short = session(frames=clip()[:4])
    click(short, 0)
    _, results = stream(tracker(), clip()[:4], {0: [lambda v: click(v, 0)]})

    assert gap(logits(results)[1, 3], logits(short.propagate())[1, 3]) > 0


def test_a_stream_with_strides() -> None:
    model = new_tracker(memory_temporal_stride_for_eval=2)
    offline = session(model)
    click(offline, 0)
    _, results = stream(model, clip(), {0: [lambda v: click(v, 0)]})

    assert_same(logits(results), logits(offline.propagate()), exact=True)


def test_frames_that_are_overwritten_later() -> None:
    """A camera may give the same buffer each time."""
    buffer = np.array(clip()[0])
    video = VideoSession(tracker())
    video.step(buffer)
    buffer[:] = 0

    assert torch.equal(click(video, 0).low_res, click(session(), 0).low_res)
