"""One video whose objects are found as they come: frames go in, results come out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sam2.automatic.proposals import MaskProposal
from sam2.automatic.video_overlaps import Planes, new_masks, same_masks, small_mask, without_groups
from sam2.automatic.video_settings import VideoMaskSettings
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import ImageFeatures
from sam2.tracking.features import as_frame
from sam2.tracking.policy import MemoryPolicy
from sam2.tracking.results import FrameResult
from sam2.tracking.session import VideoSession
from sam2.utils.amg import remove_small_regions


class Proposer(Protocol):
    """Finds the masks of a key frame. ``features`` are the frame's, by the model that tracks."""

    def __call__(self, image: NDArray[np.uint8], features: ImageFeatures) -> Sequence[MaskProposal]:
        """Masks of an image [H, W, 3] uint8, of its size, in any order."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A mask of a key frame.

    Attributes:
        mask: [H, W], without islands and holes that are too small to be objects.
        rank: larger ones are taken first: sure ones, and things before their parts. Of two masks the larger one wins
            unless it is much less sure.
        predicted_iou: what the model thinks of it.
    """

    mask: NDArray[np.bool_]
    rank: float
    predicted_iou: float


class VideoMaskTracker:
    """Finds and follows objects in frames that are pushed, one after another; made by ``VideoMaskGenerator.start()``.

    Memory is bounded whatever the length of the video: by ``max_objects``, and for each object by what tracking can
    still read.
    """

    def __init__(
        self, model: SAM2Base, propose: Proposer, settings: VideoMaskSettings, *, policy: MemoryPolicy | None = None
    ) -> None:
        self.settings = settings
        self.session = VideoSession(model, policy=policy)
        self._propose = propose
        self._last_seen: dict[int, int] = {}
        self._alike: dict[tuple[int, int], int] = {}
        """On how many key frames in a row two objects have had one mask."""
        self._next_id = 1

    @property
    def obj_ids(self) -> list[int]:
        """Objects that are followed now, in the order in which they were found."""
        return self.session.obj_ids

    @property
    def num_frames(self) -> int:
        """Frames so far."""
        return self.session.num_frames

    @property
    def num_found(self) -> int:
        """Objects found so far, those that were given up included: their numbers are 1 to this."""
        return self._next_id - 1

    @torch.no_grad()
    def step(self, frame: Any) -> FrameResult:
        """Take the next frame.

        Args:
            frame: [H, W, 3] uint8 array (RGB), tensor [3, H, W], PIL image or path; all of one size.

        Returns:
            The objects of this frame, those included that were found in it. One that is not seen has an empty mask.

        Raises:
            ValueError: the frame cannot be used or has another size; or ``mask_generator`` gives masks of another size.
        """
        image = as_frame(frame)
        result = self.session.step(image)
        index = result.frame_idx
        changed = self._forget_absent(result)
        if index % self.settings.keyframe_every == 0:
            changed |= self._forget_doubles(result)
            changed |= self._look_for_new(image, index)
        if changed:
            result = self.session.result_at(index)
        return replace(result, non_overlap=result.non_overlap or self.settings.non_overlap)

    def close(self) -> None:
        """Forget all objects and what is kept of them; also done by ``with``."""
        self._last_seen, self._alike = {}, {}
        self.session.reset()
        self.session.close()

    def __enter__(self) -> "VideoMaskTracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ giving objects up

    def _forget(self, obj_id: int) -> None:
        self.session.remove_object(obj_id)
        del self._last_seen[obj_id]
        self._alike = {pair: count for pair, count in self._alike.items() if obj_id not in pair}

    def _forget_absent(self, result: FrameResult) -> bool:
        """Note who is there, and forget those who have not been for long."""
        if not len(result):
            return False
        seen = ((result.low_res > 0).flatten(1).any(1) & (result.ious >= self.settings.seen_iou)).tolist()
        gone: list[int] = []
        for obj_id, is_seen in zip(result.obj_ids, seen, strict=True):
            if is_seen:
                self._last_seen[obj_id] = result.frame_idx
            elif result.frame_idx - self._last_seen[obj_id] >= self.settings.drop_after:
                gone.append(obj_id)
        for obj_id in gone:
            self._forget(obj_id)
        return bool(gone)

    def _forget_doubles(self, result: FrameResult) -> bool:
        """Forget the later of two objects that have had the same mask for some key frames."""
        ids = [obj_id for obj_id in result.obj_ids if obj_id in self._last_seen]
        pairs = [(ids[a], ids[b]) for a, b in same_masks(self._followed(result, ids), self.settings.same_iou)]
        self._alike = {pair: self._alike.get(pair, 0) + 1 for pair in pairs}
        doubles = {max(pair) for pair, count in self._alike.items() if count >= self.settings.same_after}
        for obj_id in doubles:
            self._forget(obj_id)
        return bool(doubles)

    def _make_room(self, wanted: int, frame: int) -> int:
        """How many new objects may come. Objects that have been away for a key frame or more give way to them."""
        spare = self.settings.max_objects - len(self._last_seen)
        away = [obj_id for obj_id, seen in self._last_seen.items() if frame - seen >= self.settings.keyframe_every]
        away.sort(key=lambda obj_id: self._last_seen[obj_id])
        for obj_id in away[: max(0, wanted - spare)]:
            self._forget(obj_id)
            spare += 1
        return spare

    # ------------------------------------------------------------------ new objects

    def _look_for_new(self, image: NDArray[np.uint8], frame: int) -> bool:
        """Take masks of a key frame that no object covers as new objects."""
        found = self._find(image, frame)
        if not found:
            return False
        side = self.session.model.low_res_size
        planes = np.stack([small_mask(one.mask, side) for one in found])
        single = without_groups(planes, [one.predicted_iou for one in found])
        planes, found = planes[single], [found[row] for row in single]
        followed = self._followed(self.session.result_at(frame), self.obj_ids)
        chosen = new_masks(planes, [one.rank for one in found], followed, self.settings)
        chosen = chosen[: self._make_room(len(chosen), frame)]
        for row in chosen:
            self.session.add_mask(frame, self._next_id, found[row].mask)
            self._last_seen[self._next_id] = frame
            self._next_id += 1
        return bool(chosen)

    def _find(self, image: NDArray[np.uint8], frame: int) -> list[_Found]:
        """Masks that are neither specks nor the whole frame."""
        size = self.session.size
        smallest, largest = self.settings.smallest(size), self.settings.largest(size)
        found: list[_Found] = []
        for proposal in self._propose(image, self.session.features.get(frame)):
            if tuple(proposal.rle["size"]) != size:
                raise ValueError(
                    f"mask_generator must give masks of the frame's (height, width) {size}, got {proposal.rle['size']}"
                )
            if proposal.area < smallest:
                continue
            mask = proposal.mask()
            for what in ("holes", "islands"):
                mask, _ = remove_small_regions(mask, smallest, what)
            area = int(mask.sum())
            if max(1, smallest) <= area <= largest:
                rank = proposal.predicted_iou**4 * area**0.25
                found.append(_Found(mask, rank, proposal.predicted_iou))
        return found

    def _followed(self, result: FrameResult, obj_ids: Sequence[int]) -> Planes:
        """Masks of objects on a frame as rows."""
        rows = [result.obj_ids.index(obj_id) for obj_id in obj_ids]
        return (result.low_res[rows] > 0).flatten(1).float().cpu().numpy()
