"""The tracker's state on disk: what a session remembers, and how far that goes.

``state.json`` names the file with the session and says which masks and prompts it knows; both are replaced together,
because ``state.json`` comes last. The history is left out: masks are in the log of tracked masks.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sam2.tracking import VideoSession
from sam2.tracking.store import load_into, save_session

RECORD = "state.json"
_PATTERN = "state-*.safetensors"


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a saved session knows.

    Attributes:
        number: lines of the log of tracked masks when it was saved.
        said: digests of what was said, by (frame, object).
    """

    number: int
    said: dict[tuple[int, int], str]


def save_tracker(session: VideoSession, folder: Path, *, number: int, said: Mapping[tuple[int, int], str]) -> None:
    """Write the state; the former one holds until the new one is complete.

    Raises:
        OSError: it cannot be written.
    """
    former = _read_record(folder)
    serial = 1 + (0 if former is None else int(former.get("serial", 0)))
    path = folder / f"state-{serial:08d}.safetensors"
    history, session.history = session.history, None
    try:
        save_session(session, path)
    finally:
        session.history = history
    record = {
        "serial": serial,
        "file": path.name,
        "number": number,
        "said": [[frame, object_id, digest] for (frame, object_id), digest in said.items()],
    }
    draft = folder / f".{RECORD}.tmp"
    draft.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
    os.replace(draft, folder / RECORD)
    for other in folder.glob(_PATTERN):
        if other != path:
            other.unlink(missing_ok=True)


def load_tracker(session: VideoSession, folder: Path) -> SavedState | None:
    """Fill a session with the state; None, and a session as before, if there is none or none that fits."""
    record = _read_record(folder)
    if record is None:
        return None
    try:
        said = {(int(frame), int(object_id)): str(digest) for frame, object_id, digest in record["said"]}
        saved = SavedState(int(record["number"]), said)
        load_into(session, folder / Path(str(record["file"])).name)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # of another model or video, damaged or gone: what was said is said again
    return saved


def _read_record(folder: Path) -> dict | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
