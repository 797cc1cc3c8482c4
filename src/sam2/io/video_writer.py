"""Writing videos through PyAV: mp4 for looking at, webm for cut-outs with alpha."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError
from numpy.typing import NDArray

CODECS = {
    ".mp4": ("libx264", "libopenh264", "mpeg4"),
    ".mov": ("libx264", "libopenh264", "mpeg4"),
    ".mkv": ("libx264", "libopenh264", "mpeg4"),
    ".avi": ("mpeg4",),
    ".webm": ("libvpx-vp9", "libvpx"),
}
"""Encoders by suffix, the best first; which of them there are depends on the PyAV build."""

OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "20", "preset": "veryfast"},
    "libopenh264": {"b": "6M"},
    "mpeg4": {"qscale": "3"},
    "libvpx-vp9": {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "6", "auto-alt-ref": "0"},
    "libvpx": {"crf": "10", "b": "4M", "deadline": "realtime", "auto-alt-ref": "0"},
}


_BT709, _LIMITED = 1, 1  # FFmpeg's numbers
_CAN_CONVERT = int(av.__version__.split(".")[0]) >= 18
"""PyAV before 18 makes YUV by the matrix of BT.601, whatever it is asked for."""

_SAY_COLOURS = ("libx264", "libopenh264", "libvpx-vp9") if _CAN_CONVERT else ()
"""Encoders whose streams say by which matrix RGB became YUV."""


class VideoWriter:
    """Frames to a video file, one by one.

    The file appears under its name when the writer is closed, if a frame was written; leaving the ``with`` block by an
    error keeps what was written until then. Odd sides are padded to even ones by repeating the last row or column, as
    4:2:0 colour needs.

    Args:
        path: its suffix says the format: mp4, mov, mkv, avi or webm.
        fps: frames a second; 29.97 and its like become exact fractions.
        size: (height, width) of every frame; that of the first one by default.
        codec: the name of an FFmpeg encoder; by default the best there is.
        alpha: frames are RGBA; webm only.

    Raises:
        ValueError: an unknown format, a bad rate, or alpha in a format that has none.
        OSError: the file cannot be written, or no encoder is there.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | Fraction,
        size: tuple[int, int] | None = None,
        codec: str | None = None,
        alpha: bool = False,
    ) -> None:
        self.path = Path(path)
        suffix = self.path.suffix.lower()
        if suffix not in CODECS:
            raise ValueError(f"path must end in {', '.join(CODECS)}, got {self.path.name!r}")
        if alpha and suffix != ".webm":
            raise ValueError(f"alpha needs a .webm file, got {self.path.name!r}")
        if not 0 < float(fps) < 1000:
            raise ValueError(f"fps must be above 0 and below 1000, got {fps}")
        self.codec = _first_codec((codec,) if codec else CODECS[suffix])
        self.rate = Fraction(fps).limit_denominator(1001)
        self.size, self.alpha = size, alpha
        self.num_frames = 0
        self._partial = self.path.with_name(f".{self.path.stem}.partial{suffix}")
        self._container: Any = None
        self._stream: Any = None

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 [H, W, 3] RGB, or [H, W, 4] with ``alpha``.

        Raises:
            ValueError: another shape, dtype or size.
            OSError: the disk is full, or the encoder failed.
        """
        channels = 4 if self.alpha else 3
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != channels:
            raise ValueError(f"frame must be uint8 of shape [H, W, {channels}], got {frame.dtype} {frame.shape}")
        if self.size is None:
            self.size = (frame.shape[0], frame.shape[1])
        if frame.shape[:2] != self.size:
            raise ValueError(f"frame must have (height, width) {self.size}, got {frame.shape[:2]}")
        with self._errors():
            container = self._container or self._open(self.size)
            picture = av.VideoFrame.from_ndarray(_even(frame), format="rgba" if self.alpha else "rgb24")
            matrix = "ITU709" if self.codec in _SAY_COLOURS else "ITU601"
            picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace=matrix, dst_color_range="MPEG")
            picture.pts = self.num_frames
            picture.time_base = 1 / self.rate
            container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; a writer without frames leaves none."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with self._errors():
            try:
                container.mux(self._stream.encode())
            finally:
                container.close()
            self._partial.replace(self.path)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError):  # the first error is the one to be told
            self.close()

    def _open(self, size: tuple[int, int]) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(f"file:{self._partial}", "w")
        self._stream = self._container.add_stream(self.codec, rate=self.rate, options=OPTIONS.get(self.codec, {}))
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuva420p" if self.alpha else "yuv420p"
        if self.codec in _SAY_COLOURS:  # where nothing is said, players guess by the size, and some guess wrong
            context = self._stream.codec_context
            context.colorspace, context.color_range = _BT709, _LIMITED
            context.color_primaries = context.color_trc = _BT709
        return self._container

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError) as error:
            if self._container is not None:
                with contextlib.suppress(FFmpegError, OSError):
                    self._container.close()
            self._container = None
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(getattr(error, "errno", None) or 0, f"cannot write {self.path}: {reason}") from error


def _first_codec(names: tuple[str, ...]) -> str:
    for name in names:
        with contextlib.suppress(UnknownCodecError):
            Codec(name, "w")
            return name
    raise OSError(f"the installed PyAV has no encoder {' or '.join(names)}: PyAV from PyPI has libx264 and libvpx-vp9")


def _even(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    odd_rows, odd_columns = frame.shape[0] % 2, frame.shape[1] % 2
    if not odd_rows and not odd_columns:
        return np.ascontiguousarray(frame)
    return np.pad(frame, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")
