"""What a studio is started with."""

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path

_LOCAL_NAMES = {"localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioSettings:
    """Settings of a studio, checked.

    Attributes:
        projects: folder of the projects; made when the studio opens.
        files: the folder whose photos and videos may be opened from the page; None allows none.
        open: project that the page opens at first; None starts with the list.
        host, port: where the server listens.
        token: what a client must know; None asks for none, which is allowed on the machine's own addresses only.
        model: as :func:`sam2.load` takes it.
        device: as :func:`sam2.load` takes it.
        upload_limit: bytes of one upload, all of its files together.
        upload_files: files of one upload.
        image_pixels: pixels of a photo at most.
        unpacked_limit: bytes that an archive may unpack to.
        json_limit: bytes of a JSON body.
        idle_minutes: a project that nobody looks at is closed after this time.
        memory_mb: for features of frames, in MiB.
        requests_per_second: of one client, over a few seconds.
        session_hours: how long a page stays logged in.

    Raises:
        ValueError: a setting out of range, or another address than this machine's without a token.
    """

    projects: Path
    files: Path | None = None
    open: str | None = None
    host: str = "127.0.0.1"
    port: int = 7263
    token: str | None = None
    model: str = "nano"
    device: str | None = None
    upload_limit: int = 4 * 2**30
    upload_files: int = 10_000
    image_pixels: int = 178_000_000
    unpacked_limit: int = 4 * 2**30
    json_limit: int = 64 * 2**20
    idle_minutes: float = 30.0
    memory_mb: int = 512
    requests_per_second: float = 200.0
    session_hours: float = 12.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {self.port}")
        for name in ("upload_limit", "upload_files", "image_pixels", "unpacked_limit", "json_limit", "memory_mb"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("idle_minutes", "requests_per_second", "session_hours"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if self.token is not None and len(self.token) < 8:
            raise ValueError(f"token must have at least 8 characters, got {len(self.token)}")
        if self.token is None and not self.is_local:
            raise ValueError(f"host {self.host} can be reached by others: a token is needed")

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach the server."""
        if self.host in _LOCAL_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False
