"""``VideoMaskGenerator``: finds every object of a video and follows it."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sam2.automatic.proposals import MaskProposal, propose
from sam2.automatic.settings import AutomaticSettings, ByModel, Thresholds, grids_from, thresholds_for
from sam2.automatic.video_settings import VideoMaskSettings
from sam2.automatic.video_tracker import Proposer, VideoMaskTracker
from sam2.image import EncodedImages
from sam2.image.core import one_layout
from sam2.io.camera import is_live
from sam2.io.frames import FrameSource, open_frames, stream_frames
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.tracking.policy import MemoryPolicy
from sam2.tracking.results import FrameResult

__all__ = ["MaskGenerator", "VideoMaskGenerator", "VideoMaskSettings", "VideoMaskTracker"]

Progress = Callable[[int, int | None], None]


class MaskGenerator(Protocol):
    """Finds masks in an image, as ``SAM2AutomaticMaskGenerator`` does."""

    def propose(self, image: NDArray[np.uint8]) -> Sequence[MaskProposal]:
        """Masks of an image [H, W, 3] uint8, of its size."""
        ...


class VideoMaskGenerator:
    """Finds every object of a video and follows it, in bounded memory whatever the video's length.

    On key frames masks of everything are made; what no followed object covers becomes a new one. Objects keep their
    numbers (1, 2, ...), which are never given again. One generator may go through any number of videos.

    Args:
        model: from ``sam2.load`` or a builder, in evaluation mode.
        mask_generator: finds the masks of key frames: a ``SAM2AutomaticMaskGenerator`` (of this model, or a better one
            of its own) or anything with ``propose(image)``; by default a grid of clicks with this model. Where it uses
            this model, a key frame is encoded once for both.
        policy: which memories objects keep; the official rule by default.
        settings: see :class:`VideoMaskSettings`.
        **options: fields of the settings by name: ``keyframe_every=5``.

    Raises:
        TypeError: an option that there is not, or a ``mask_generator`` without ``propose``.
        ValueError: an option that cannot be used; the message names it.
    """

    def __init__(
        self,
        model: SAM2Base,
        *,
        mask_generator: MaskGenerator | None = None,
        policy: MemoryPolicy | None = None,
        settings: VideoMaskSettings | None = None,
        **options: Any,
    ) -> None:
        if mask_generator is not None and not callable(getattr(mask_generator, "propose", None)):
            raise TypeError(f"mask_generator must have propose(image), got {type(mask_generator).__name__}")
        self.model = model
        self.settings = replace(settings or VideoMaskSettings(), **options)
        self.policy = policy
        self._proposer = _proposer(model, mask_generator, self.settings)

    def start(self) -> VideoMaskTracker:
        """A new video whose frames are to be pushed: ``tracker.step(frame)``, for cameras and loops of one's own."""
        return VideoMaskTracker(self.model, self._proposer, self.settings, policy=self.policy)

    def generate(
        self, video: Any, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None
    ) -> Generator[FrameResult, None, None]:
        """Find and follow the objects of a video, frame by frame; leave the loop at any time.

        Args:
            video: a file, a folder of images, arrays, an iterator of frames, a camera's index or a URL: whatever
                :func:`sam2.io.frames.stream_frames` takes.
            progress: called after each frame with (frames done, frames in all or None where nobody knows).
            cancel: asked before each frame; true ends the video.

        Yields:
            A result for each frame, in order. Its objects are those that are followed at the time, in the order in
            which they were found; the mask of one that is not seen is empty.

        Raises:
            ValueError: the video has no frame, or its frames are of several sizes.
            OSError, TypeError: it cannot be opened.
        """
        total: int | None = None
        source: FrameSource | None = None
        if is_live(video) or isinstance(video, Iterator):
            frames = stream_frames(video)
        else:
            source = open_frames(video)
            total = source.num_frames
            frames = _images(source)
        return self._run(frames, total, opened=None if source is video else source, progress=progress, cancel=cancel)

    def _run(
        self,
        frames: Iterator[NDArray[np.uint8]],
        total: int | None,
        *,
        opened: FrameSource | None,
        progress: Progress | None,
        cancel: Callable[[], bool] | None,
    ) -> Generator[FrameResult, None, None]:
        try:
            with self.start() as tracker:
                while not (cancel is not None and cancel()):
                    frame = next(frames, None)
                    if frame is None:
                        if not tracker.num_frames:
                            raise ValueError("video must have at least one frame, got none")
                        return
                    result = tracker.step(frame)
                    if progress is not None:
                        progress(tracker.num_frames, total)
                    yield result
        finally:
            if isinstance(frames, Generator):
                frames.close()
            if opened is not None:
                opened.close()


def _images(source: FrameSource) -> Generator[NDArray[np.uint8], None, None]:
    with closing(source.read(0, source.num_frames)) as reader:
        for _, image in reader:
            yield image


def _proposer(model: SAM2Base, generator: MaskGenerator | None, settings: VideoMaskSettings) -> Proposer:
    """The generator, or the default one, as the tracker calls it."""
    if generator is None:
        return _own_proposer(model, settings)
    if getattr(getattr(generator, "predictor", None), "model", None) is model:

        def share(image: NDArray[np.uint8], features: ImageFeatures) -> Sequence[MaskProposal]:
            return generator.propose(image, features=_as_encoded(model, features, image))  # type: ignore[call-arg]

        return share
    return lambda image, features: generator.propose(image)


def _own_proposer(model: SAM2Base, settings: VideoMaskSettings) -> Proposer:
    thresholds = thresholds_for(model.config, Thresholds(ByModel(0.8), ByModel(0.95), ByModel(1.0)))
    clicks = AutomaticSettings(
        grids=grids_from(settings.points_per_side, None, layers=0, downscale=1),
        pred_iou_thresh=thresholds.pred_iou_thresh,
        stability_score_thresh=thresholds.stability_score_thresh,
        stability_score_offset=thresholds.stability_score_offset,
        mask_nms_thresh=0.8,
    )

    def click(image: NDArray[np.uint8], features: ImageFeatures) -> Sequence[MaskProposal]:
        return propose(model, None, clicks, features=_as_encoded(model, features, image))

    return click


def _as_encoded(model: SAM2Base, features: ImageFeatures, image: NDArray[np.uint8]) -> EncodedImages:
    """What tracking knows of a frame, as the image route takes it.

    The routes differ in how they resize (here bicubic on bytes, there bilinear on floats), which the masks of a whole
    frame hardly show; they are compared with tracked masks, which are made of these same features.
    """
    fine, middle = (one_layout(x) for x in features.high_res)
    embed = one_layout(model.condition_on_nothing(features.embed))
    return EncodedImages(embed, (fine, middle), ((image.shape[0], image.shape[1]),))
