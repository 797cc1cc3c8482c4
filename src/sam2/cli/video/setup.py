"""From what was asked to a run that can start, or go on: the video, the journal, the model, the session."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sam2.automatic.video import VideoMaskGenerator
from sam2.cli.errors import say
from sam2.cli.labels import parse_labels
from sam2.cli.loading import load_model
from sam2.cli.masks import check_size, read_mask_file
from sam2.cli.prompts import strays
from sam2.cli.video.asked import Asked
from sam2.cli.video.journal import Journal
from sam2.cli.video.legs import Leg, Span, check_frames, corrections, plan_legs
from sam2.cli.video.peek import PeekedFrames
from sam2.cli.video.prompts import VideoPrompt, prompt_records, prompts_of
from sam2.cli.video.resume import load_state
from sam2.cli.video.run import JOURNAL, SEARCH_JOURNAL, Run, drop_leftovers, work_folder
from sam2.cli.video.sinks import MAX_LABEL, Job
from sam2.cli.video.tracks import FoundTracks, PromptedTracks, Tracks, add_prompts
from sam2.interop.rle import decode_mask, encode_mask
from sam2.io.frames import open_frames
from sam2.io.listed import FolderFrames
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.tracking import VideoSession

DEFAULT_FPS = 24.0
"""For folders, which do not say how fast they are."""
_UNSAID: dict[str, Any] = {"effects": [], "labels": [], "everything": None}
"""What older journals do not say."""


@contextmanager
def open_run(asked: Asked, *, resume: bool, device: str | None, dtype: str) -> Iterator[Run]:
    """A run that is ready to go; its files are closed at the end.

    Raises:
        ValueError: the video cannot be read or does not fit the prompts, or there is nothing to go on with.
        FileNotFoundError: a file is missing.
        OutputError: the journal cannot be written.
    """
    frames = PeekedFrames(open_frames(asked.clip))
    try:
        journal = _reopen(asked, frames) if resume else _begin(asked, frames)
        try:
            yield _prepare(asked, frames, journal, device=device, dtype=dtype)
        finally:
            journal.close()
            if not len(journal):  # nothing is done: there is nothing to go on with
                shutil.rmtree(work_folder(asked.output, asked.stem), ignore_errors=True)
    finally:
        frames.close()


def _begin(asked: Asked, frames: PeekedFrames) -> Journal:
    """Check the prompts against the video and start a journal."""
    if asked.search is None:
        plan_legs(asked.prompts, asked.span, frames.num_frames)
    else:
        check_frames(asked.prompts, asked.span, frames.num_frames)
    too_large = [prompt.object_id for prompt in asked.prompts if prompt.object_id > MAX_LABEL]
    if too_large and "masks" in asked.formats:
        raise ValueError(f"object {too_large[0]}: the PNGs of --format masks hold object ids up to {MAX_LABEL}")
    prompts = _with_masks_read(asked, frames)
    for prompt in prompts:
        for text in strays(prompt, frames.width, frames.height):
            say(f"warning: {asked.clip} is {frames.width}x{frames.height}: on frame {prompt.frame} {text}")
    work = work_folder(asked.output, asked.stem)
    drop_leftovers(work)
    work.mkdir(parents=True, exist_ok=True)
    header = {
        "video": asked.clip.resolve().name,
        "width": frames.width,
        "height": frames.height,
        "num_frames": frames.num_frames,
        **asked.settled,
        "fps": asked.fps or frames.fps or DEFAULT_FPS,
        "prompts": prompt_records(prompts),
    }
    return Journal(work / (JOURNAL if asked.search is None else SEARCH_JOURNAL), header)


def _with_masks_read(asked: Asked, frames: PeekedFrames) -> list[VideoPrompt]:
    """The prompts with mask files replaced by what is in them."""
    size, found = (frames.height, frames.width), []
    for prompt in asked.prompts:
        if prompt.mask is not None:
            mask = read_mask_file(prompt.mask, size=size, owner=asked.clip)
            prompt = replace(prompt, mask=None, rle=encode_mask(mask))
        elif prompt.rle is not None:
            check_size(decode_mask(prompt.rle), size=size, name=f"the mask of {prompt.place}", owner=asked.clip)
        found.append(prompt)
    return found


def _reopen(asked: Asked, frames: PeekedFrames) -> Journal:
    """The journal of the interrupted run; what was typed again must not contradict it."""
    path = work_folder(asked.output, asked.stem) / JOURNAL
    if not path.is_file():
        raise ValueError(f"--resume: there is no interrupted run of {asked.clip} in {asked.output}")
    journal = Journal(path)
    try:
        journal.header = header = {**_UNSAID, **journal.header}
        if any(header[name] != getattr(frames, name) for name in ("width", "height", "num_frames")):
            raise ValueError(f"--resume: {asked.clip} has another size or length than in the interrupted run")
        typed = {"direction" if name in ("reverse", "both") else name for name in asked.explicit}
        changed = [name for name, value in asked.settled.items() if name in typed and value != header[name]]
        if asked.prompts and prompt_records(_with_masks_read(asked, frames)) != header["prompts"]:
            changed.append("prompts")
        if changed:
            raise ValueError(
                f"--resume: {changed[0]} differs from the interrupted run's: leave it out to go on, "
                "or leave --resume out to start anew"
            )
    except BaseException:
        journal.close()
        raise
    return journal


def _prepare(asked: Asked, frames: PeekedFrames, journal: Journal, *, device: str | None, dtype: str) -> Run:
    """Load the model, and bring it to where the journal ends."""
    header = journal.header
    prompts = prompts_of(header["prompts"], name=str(journal.path), folder=journal.path.parent)
    model = SAM2VideoPredictor(load_model(header["model"], device=device, dtype=dtype))  # fills small holes
    span = Span(header["direction"], header["start"], header["end"])
    work = work_folder(asked.output, asked.stem)
    if header["everything"] is not None:
        begin, end = span.start or 0, frames.num_frames - 1 if span.end is None else span.end
        legs = [Leg(range(begin, end + 1), ())]
        tracks: Tracks = FoundTracks(VideoMaskGenerator(model, **header["everything"]), frames)
    else:
        legs = plan_legs(prompts, span, frames.num_frames)
        later = corrections(prompts, legs)
        session = VideoSession(model, frames)
        rows = load_state(session, work, len(journal)) if len(journal) else 0
        journal.truncate(rows)
        if not rows:
            add_prompts(session, [prompt for prompt in prompts if prompt not in later])
        tracks = PromptedTracks(session, prompts, later, span.direction == "both", legs[0].reverse)
    covered = sorted({frame for leg in legs for frame in leg.frames})
    names = [path.name for path in frames.source.paths] if isinstance(frames.source, FolderFrames) else []
    labels = parse_labels(header["labels"])
    job = Job(asked.output, work, asked.stem, header["fps"], names, prompts, covered, labels)
    return Run(tracks, frames, journal, legs, job, {prompt.object_id for prompt in prompts})
