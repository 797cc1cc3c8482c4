"""The checkpoints known by name: where they come from, where they are kept, and fetching them. Needs no torch."""

import os
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sam2.loading.download import Progress, fetch, terminal_progress

_URL = "https://dl.fbaipublicfiles.com/segment_anything_2"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint known by name.

    Attributes:
        name: also the name of its preset, e.g. ``"sam2.1_hiera_tiny"``.
        filename: what the file is called.
        url: where it comes from; None for the bundled model.
        size: in bytes.
        sha256: in hexadecimal.
    """

    name: str
    filename: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def hub_id(self) -> str | None:
        """The official Hugging Face id of the same weights, e.g. ``"facebook/sam2.1-hiera-tiny"``."""
        return None if self.url is None else f"facebook/{self.name.replace('_', '-')}"


# Meta publishes no checksums. These sizes and hashes are what several independent projects recorded of the files.
_OFFICIAL = """
092824 sam2.1_hiera_tiny      156008466 7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69
092824 sam2.1_hiera_small     184416285 6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38
092824 sam2.1_hiera_base_plus 323606802 a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5
092824 sam2.1_hiera_large     898083611 2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318
072824 sam2_hiera_tiny        155906050 65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125
072824 sam2_hiera_small       184309650 95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3
072824 sam2_hiera_base_plus   323493298 d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071
072824 sam2_hiera_large       897952466 7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b
"""


def _official() -> list[Checkpoint]:
    rows = (line.split() for line in _OFFICIAL.strip().splitlines())
    return [
        Checkpoint(name, f"{name}.pt", f"{_URL}/{folder}/{name}.pt", int(size), sha256)
        for folder, name, size, sha256 in rows
    ]


CHECKPOINTS: dict[str, Checkpoint] = {
    entry.name: entry for entry in (Checkpoint("nano", "nano.safetensors"), *_official())
}
"""Every checkpoint known by name: ``nano`` and the eight official ones."""


def cache_dir() -> Path:
    """Where downloads go: ``SAM2_CACHE``, else ``sam2`` in the platform's cache folder."""
    if chosen := os.environ.get("SAM2_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "sam2" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sam2"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sam2"


def checkpoint(name: str) -> Checkpoint:
    """The entry of :data:`CHECKPOINTS`, or a ``ValueError`` that lists the names."""
    if name not in CHECKPOINTS:
        raise ValueError(f"no checkpoint {name!r}; known are: {', '.join(CHECKPOINTS)}")
    return CHECKPOINTS[name]


def find_local(name: str) -> Path | None:
    """The file of a known checkpoint on this machine, or None.

    Looked for in the package (nano), the cache, ``./checkpoints``, torch's hub folder and Hugging Face's cache; a file
    counts if it has the right size.
    """
    entry = checkpoint(name)
    if entry.url is None:
        bundled = Path(str(files("sam2") / "weights" / entry.filename))
        return bundled if bundled.is_file() else None
    folders = [cache_dir(), Path("checkpoints"), _torch_hub() / "checkpoints", *_hub_snapshots(entry)]
    for folder in folders:
        path = folder / entry.filename
        if path.is_file() and path.stat().st_size == entry.size:
            return path
    return None


def _torch_hub() -> Path:
    """Where torch.hub keeps its files, by torch's rules but without importing it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser() / "hub"


def _hub_snapshots(entry: Checkpoint) -> list[Path]:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return sorted((hub / f"models--{(entry.hub_id or '').replace('/', '--')}" / "snapshots").glob("*"))


def download(name: str, progress: Progress | None = None) -> Path:
    """The file of a known checkpoint, downloaded to the cache if it is not on this machine.

    A broken download is continued by the next call. Without ``progress`` a bar is drawn on a terminal.

    Raises:
        ValueError: no checkpoint of this name.
        DownloadError: (an ``OSError``) offline, no room, or a corrupt file; the message says which file to put where.
        FileNotFoundError: the bundled model was left out of this installation.
    """
    entry = checkpoint(name)
    if (local := find_local(name)) is not None:
        return local
    if entry.url is None:
        raise FileNotFoundError(f"this installation lacks the bundled weights {entry.filename}; reinstall sam2")
    destination = cache_dir() / entry.filename
    if progress is not None:
        return fetch(entry.url, destination, size=entry.size, sha256=entry.sha256, progress=progress)
    with terminal_progress(entry.filename) as bar:
        return fetch(entry.url, destination, size=entry.size, sha256=entry.sha256, progress=bar)
