"""What a file is, by its content; what a folder offers, by the names in it."""

import struct
import threading
import warnings
from pathlib import Path
from typing import Literal

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam2.io.images import read_image
from sam2.io.listed import IMAGE_SUFFIXES
from sam2.web.errors import StudioError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What pictures may be inside, whatever their names say. Pillow knows more, and starts other programs for some."""
BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error)
"""What Pillow raises, depending on what is wrong with a picture."""
_TO_CONVERT = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".raw", ".dng", ".cr2", ".nef", ".arw")
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
_LARGE = 64_000_000
"""Larger pictures are not decoded to see whether all of them is there, unless that can be done at a smaller size."""
_VIDEO_OPTIONS = {
    # a playlist names other files of this machine: none is read for whoever uploads one
    "format_whitelist": "mov,matroska,webm,avi,gif,mpegts,mpeg,flv,asf,ogg",
    "protocol_whitelist": "file",
}
_decoding = threading.Lock()
"""One large picture in memory at a time."""


def kind_by_name(name: str) -> Literal["image", "video"] | None:
    """What a file seems to be."""
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def can_be_told(name: str) -> bool:
    """Whether the name of a file is text: on Linux any bytes may be one, and no JSON holds those."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def unknown_kind(name: str) -> StudioError:
    """What to tell someone who comes with a file that is neither a photo nor a video by its name."""
    suffix = Path(name).suffix.lower()
    if suffix in _TO_CONVERT:
        return StudioError(415, f"{name}: {suffix[1:].upper()} pictures cannot be read here; save it as JPEG or PNG")
    return StudioError(415, f"{name} is neither a photo nor a video that can be read here")


def check_image(path: Path, *, pixels: int) -> None:
    """Refuse what is no picture, too large a one (told before it is decoded), or one that is cut short.

    Raises:
        StudioError: 415 no picture or a damaged one, 413 more than ``pixels``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit: ours is told in our words
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                width, height = image.size
                if width * height > pixels:
                    raise StudioError(413, f"the picture is {width} x {height}: {pixels} pixels are allowed")
                image.verify()
            with _decoding, Image.open(path, formats=IMAGE_FORMATS) as image:  # after verify nothing can be read
                if image.format in ("JPEG", "MPO"):
                    image.draft("RGB", (64, 64))  # all of the file is read, an eighth of it made into pixels
                if width * height <= _LARGE or image.format in ("JPEG", "MPO"):
                    image.load()
    except StudioError:
        raise
    except Image.DecompressionBombError as error:
        raise StudioError(413, f"the picture is too large: {pixels} pixels are allowed") from error
    except BROKEN as error:
        raise StudioError(415, "this is no picture that can be read, or it is damaged") from error


def read_photo(path: Path) -> NDArray[np.uint8]:
    """A photo [h, w, 3] RGB, upright.

    Raises:
        FileNotFoundError, ValueError: as :func:`sam2.io.images.read_image`; ValueError of what another program would be
            started for, whatever its name says.
    """
    with path.open("rb") as file:
        if file.read(4) in _POSTSCRIPT:
            raise ValueError(f"{path} is a program in PostScript, no picture")
    return read_image(path)


def check_video(path: Path, *, pixels: int) -> None:
    """Refuse what has no frame that can be decoded; a video that is cut short is taken as far as it goes.

    Raises:
        StudioError: 415 no video, 413 frames of more than ``pixels``.
    """
    try:
        with av.open(f"file:{path}", metadata_errors="ignore", options=_VIDEO_OPTIONS) as container:
            stream = next((s for s in container.streams.video), None)
            if stream is not None:
                width, height = stream.codec_context.width, stream.codec_context.height
                if width * height > pixels:
                    raise StudioError(413, f"the video is {width} x {height}: {pixels} pixels are allowed")
                for _ in container.decode(stream):
                    return
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise StudioError(415, "this is no video that can be read, or it is damaged") from error
    raise StudioError(415, "this is no video that can be read: it has no frame")
