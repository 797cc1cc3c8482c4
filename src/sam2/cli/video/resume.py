"""Going on after a break: the session's state beside the journal, named after the rows it belongs to."""

from pathlib import Path

from sam2.cli.errors import OutputError
from sam2.tracking import VideoSession
from sam2.tracking.store import load_into, save_session

_PATTERN = "state-*.safetensors"


def save_state(session: VideoSession, work: Path, rows: int) -> None:
    """Write the state of ``session`` after ``rows`` rows of the journal; older ones go.

    Raises:
        OutputError: it cannot be written; the older one is still there.
    """
    path = work / f"state-{rows:08d}.safetensors"
    try:
        save_session(session, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    for other in work.glob(_PATTERN):
        if other != path:
            other.unlink(missing_ok=True)


def load_state(session: VideoSession, work: Path, rows: int) -> int:
    """Bring ``session`` to the latest state within the first ``rows`` rows; the rows it belongs to, 0 without one.

    Raises:
        ValueError: the state is of another model or video, or damaged.
    """
    states = {int(path.stem.partition("-")[2]): path for path in work.glob(_PATTERN)}
    known = [number for number in states if number <= rows]
    if not known:
        return 0
    load_into(session, states[max(known)])
    return max(known)
