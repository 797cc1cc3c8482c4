"""What goes wrong, as a status and one sentence. The sentence names no place outside the allowed folder."""

import errno


class StudioError(Exception):
    """A call that cannot be answered.

    Attributes:
        status: of HTTP, 400 to 507.
        detail: one sentence for the person at the page.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def disk_error(error: OSError, what: str) -> StudioError:
    """``error`` while ``what`` was written or read: 507 where the disk is full, else 409."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StudioError(507, f"{what} could not be saved: the disk is full")
    return StudioError(409, f"{what} could not be saved or read: {error.strerror or type(error).__name__}")
