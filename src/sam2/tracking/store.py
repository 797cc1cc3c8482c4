"""A session on disk, without its frames: to go on in another process as if nothing had happened."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam2.io.tensor_file import (
    TensorEntry,
    TensorFile,
    checksum_holds,
    pack_bits,
    unpack_bits,
    write_tensor_file,
)
from sam2.tracking.history import DiskForm
from sam2.tracking.objects import Draft, ObjectTrack
from sam2.tracking.records import FrameOutput, FramePrompt
from sam2.tracking.session import VideoSession
from sam2.utils.fingerprint import model_hash

FORMAT = "sam2-session-1"


def save_session(session: VideoSession, path: Any) -> None:
    """Write prompts, memories and history of a session to one safetensors file, bound to the model's weights.

    At most 0.8 MB per object and frame that memory holds, less per frame of the past. In a stream, prompts are taken as
    final: their frame cannot be had again.

    Raises:
        OSError: the folder does not exist or cannot be written; an existing file stays as it is.
    """
    if session.is_stream:
        session.commit()
    model = session.model
    plan = _plan(session)
    metadata = {
        "format": FORMAT,
        "model": model.config.name,
        "model_hash": model_hash(model),
        "image_size": str(model.image_size),
        "session": json.dumps(plan.record, separators=(",", ":")),
    }
    write_tensor_file(Path(path), plan.entries, metadata)


def load_into(session: VideoSession, path: Any) -> None:
    """Fill a session that has no objects yet with what :func:`save_session` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no session, is damaged, comes of another model, or is of another video (a stream is
            not a video); the session is as it was.
        RuntimeError: the session has objects.
    """
    path = Path(path)
    if session.tracks:
        raise RuntimeError(f"the session has objects {session.obj_ids}: load into a new one, or call reset() first")
    if not path.is_file():
        raise FileNotFoundError(f"no such session file: {path}")
    file = TensorFile(path)
    _check_model(file, session)
    if not checksum_holds(path):
        raise ValueError(f"{path} is damaged: its checksum does not hold")
    record = json.loads(file.metadata["session"])
    _check_video(path, record, session)
    tracks = [_load_track(session, saved, file) for saved in record["tracks"]]
    size = record["size"]
    session.resume(record["num_frames"], None if size is None else (size[0], size[1]))
    session.tracks = {track.obj_id: track for track in tracks}
    _load_history(session, record, file)


@dataclass(slots=True)
class _Plan:
    """What goes into the file: tensors, and the record that says what they are."""

    record: dict[str, Any]
    entries: list[TensorEntry] = field(default_factory=list[TensorEntry])

    def add(self, name: str, value: Tensor) -> None:
        self.entries.append(TensorEntry.of(name, value))

    def add_output(self, name: str, output: FrameOutput) -> None:
        """An output; its raw logits as what they differ in: few pixels, those of holes."""
        self.add(f"{name}/scores", torch.cat((output.iou, output.object_score)).float())
        self.add(f"{name}/pointer", output.pointer)
        if output.memory is not None:
            self.add(f"{name}/memory", output.memory)
        if output.logits is None or output.raw is None:
            return
        self.add(f"{name}/logits", output.logits)
        if output.raw is not output.logits:
            places = (output.raw != output.logits).flatten().nonzero()[:, 0]
            self.add(f"{name}/raw_places", places.int())
            self.add(f"{name}/raw_values", output.raw.flatten()[places])


def _plan(session: VideoSession) -> _Plan:
    record: dict[str, Any] = {
        "is_stream": session.is_stream,
        "num_frames": session.num_frames,
        "size": list(session.size) if session.num_frames else None,
        "tracks": [],
        "history": {"kept": [], "spilled": []},
    }
    plan = _Plan(record)
    history = session.history
    kept = {} if history is None else dict(history.kept())
    for track in session.tracks.values():
        past = {frame: output for (obj_id, frame), output in kept.items() if obj_id == track.obj_id}
        record["tracks"].append(_save_track(plan, track, past))
    if history is None:
        return plan
    record["history"]["kept"] = [[*key, output.memory is not None] for key, output in kept.items()]
    for key, form in history.spilled().items():
        content = history.read_spilled(key)  # its length is needed first; the bytes are read again when written
        record["history"]["spilled"].append([*key, form.side, form.channels, form.filled])
        plan.entries.append(
            TensorEntry(f"{key[0]}/spilled/{key[1]}", "U8", (len(content),), lambda key=key: history.read_spilled(key))
        )
    return plan


def _save_track(plan: _Plan, track: ObjectTrack, past: dict[int, FrameOutput]) -> dict[str, Any]:
    """The record of an object; ``past`` are its outputs in the history, which share tensors with its recent ones."""
    name, bank = str(track.obj_id), track.bank
    for frame, prompt in track.prompts.items():
        _add_prompt(plan, f"{name}/prompt/{frame}", prompt)
    for frame, draft in track.drafts.items():
        plan.add_output(f"{name}/draft/{frame}", draft.output)
    for frame, output in bank.prompted.items():
        plan.add_output(f"{name}/prompted/{frame}", output)
    for frame in sorted({*past, *bank.recent}):
        plan.add_output(f"{name}/past/{frame}", _merged(bank.recent.get(frame), past.get(frame)))
    return {
        "obj_id": track.obj_id,
        "prompts": [[frame, prompt.mask is not None] for frame, prompt in track.prompts.items()],
        "drafts": [[frame, draft.conditioning] for frame, draft in track.drafts.items()],
        "prompted": list(bank.prompted),
        "recent": [[t, output.logits is not None, output.memory is not None] for t, output in bank.recent.items()],
        "directions": [[frame, reverse] for frame, reverse in bank.directions.items()],
    }


def _merged(recent: FrameOutput | None, past: FrameOutput | None) -> FrameOutput:
    """All that is known of a frame: memory may have dropped its masks, the history its memory."""
    if past is None or recent is None:
        output = past or recent
        assert output is not None
        return output
    return past if past.memory is not None or recent.memory is None else past.with_memory(recent.memory)


def _add_prompt(plan: _Plan, name: str, prompt: FramePrompt) -> None:
    if prompt.mask is not None:
        plan.add(f"{name}/mask", pack_bits(prompt.mask))
    if prompt.points is not None and prompt.labels is not None:
        plan.add(f"{name}/points", prompt.points.float())
        plan.add(f"{name}/labels", prompt.labels.int())


def _check_model(file: TensorFile, session: VideoSession) -> None:
    path, metadata = file.path, file.metadata
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} holds no session of this version (format {metadata.get('format')!r})")
    model, made_by = session.model, metadata.get("model", "an unknown model")
    if metadata.get("image_size") != str(model.image_size):
        raise ValueError(
            f"{path} was made by {made_by} at image_size {metadata.get('image_size')}, "
            f"this is {model.config.name} at {model.image_size}"
        )
    if metadata.get("model_hash") != model_hash(model):
        raise ValueError(
            f"{path} was made by {made_by} with weights {metadata.get('model_hash', '')[:8]}, "
            f"this is {model.config.name} with weights {model_hash(model)[:8]}"
        )


def _check_video(path: Path, record: dict[str, Any], session: VideoSession) -> None:
    kinds = {True: "a stream", False: "a video"}
    if record["is_stream"] != session.is_stream:
        raise ValueError(f"{path} is of {kinds[record['is_stream']]}, the session has {kinds[session.is_stream]}")
    if session.is_stream:
        if session.num_frames:
            raise ValueError(f"{path} is of a stream, and this one has begun: load before the first step")
        return
    saved = (record["num_frames"], *record["size"])
    here = (session.num_frames, *session.size)
    if saved != here:
        raise ValueError(
            f"{path} is of a video of {saved[0]} frames of {saved[2]} x {saved[1]} pixels, "
            f"this one has {here[0]} of {here[2]} x {here[1]}"
        )


def _load_track(session: VideoSession, saved: dict[str, Any], file: TensorFile) -> ObjectTrack:
    track = session.new_track(saved["obj_id"])
    name, bank, device = str(track.obj_id), track.bank, session.storage_device
    for frame, is_mask in saved["prompts"]:
        track.prompts[frame] = _load_prompt(f"{name}/prompt/{frame}", file, session.model.image_size, is_mask=is_mask)
    for frame, conditioning in saved["drafts"]:
        output = _load_output(f"{name}/draft/{frame}", file, memory=False)
        track.drafts[frame] = Draft(output.to(device), conditioning)
    for frame in saved["prompted"]:
        bank.prompted[frame] = _load_output(f"{name}/prompted/{frame}", file).to(device)
    for frame, masks, memory in saved["recent"]:
        bank.recent[frame] = _load_output(f"{name}/past/{frame}", file, masks=masks, memory=memory).to(device)
    bank.directions = {frame: reverse for frame, reverse in saved["directions"]}
    return track


def _load_prompt(name: str, file: TensorFile, image_size: int, *, is_mask: bool) -> FramePrompt:
    if not is_mask:
        return FramePrompt(file.read(f"{name}/points"), file.read(f"{name}/labels"))
    return FramePrompt(mask=unpack_bits(file.read(f"{name}/mask"), (image_size, image_size)))


def _load_output(name: str, file: TensorFile, *, masks: bool = True, memory: bool = True) -> FrameOutput:
    scores = file.read(f"{name}/scores")
    logits = raw = file.read(f"{name}/logits") if masks else None
    if logits is not None and f"{name}/raw_places" in file:
        raw = logits.clone()
        raw.view(-1)[file.read(f"{name}/raw_places").long()] = file.read(f"{name}/raw_values")
    return FrameOutput(
        logits,
        raw,
        scores[:1],
        scores[1:],
        file.read(f"{name}/pointer"),
        file.read(f"{name}/memory") if memory else None,
    )


def _load_history(session: VideoSession, record: dict[str, Any], file: TensorFile) -> None:
    if session.history is None:
        return
    for obj_id, frame, side, channels, filled in record["history"]["spilled"]:
        content = file.read(f"{obj_id}/spilled/{frame}").numpy().tobytes()
        session.history.put_spilled((obj_id, frame), DiskForm(side, channels, filled), content)
    for obj_id, frame, memory in record["history"]["kept"]:
        session.history.put(obj_id, frame, _load_output(f"{obj_id}/past/{frame}", file, memory=memory))
