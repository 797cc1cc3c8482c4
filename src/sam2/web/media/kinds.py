"""What a file is, by its content; what a folder offers, by the names in it."""

import warnings
from pathlib import Path
from typing import Literal

import av
import av.error
from PIL import Image

from sam2.io.listed import IMAGE_SUFFIXES
from sam2.web.errors import StudioError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")


def kind_by_name(name: str) -> Literal["image", "video"] | None:
    """What a file seems to be."""
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def check_image(path: Path, *, pixels: int) -> None:
    """Refuse what is no picture, or too large a one, without decoding it.

    Raises:
        StudioError: 415 no picture, 413 more than ``pixels``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit: ours is told in our words
            with Image.open(path) as image:
                width, height = image.size
                if width * height > pixels:
                    raise StudioError(413, f"the picture is {width} x {height}: {pixels} pixels are allowed")
                image.verify()
    except StudioError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise StudioError(415, "this is no picture that can be read, or it is damaged") from error


def check_video(path: Path) -> None:
    """Refuse what has no frame that can be decoded; a video that is cut short is taken as far as it goes.

    Raises:
        StudioError: 415.
    """
    try:
        with av.open(f"file:{path}", metadata_errors="ignore") as container:
            stream = next((s for s in container.streams.video), None)
            if stream is not None:
                for _ in container.decode(stream):
                    return
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise StudioError(415, "this is no video that can be read, or it is damaged") from error
    raise StudioError(415, "this is no video that can be read: it has no frame")
