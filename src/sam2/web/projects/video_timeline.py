"""Objects over time, and a tracked mask as the page takes it: small records from the log and from what was said."""

from collections.abc import Mapping, Sequence

import numpy as np

from sam2.web.projects.store import Brief
from sam2.web.projects.tracked import TrackedLog, TrackedMask
from sam2.web.schemas import FrameObject, Timeline, TimelineObject


def as_frame_object(item: TrackedMask) -> FrameObject:
    """A tracked mask as the page takes it."""
    return FrameObject.model_construct(
        object_id=item.object_id,
        prompts=None,
        mask=item.mask,
        area=item.area,
        box=tuple(float(edge) for edge in item.box) if item.area else None,
        score=item.iou,
        source="tracking",
    )


def timeline(log: TrackedLog, object_ids: Sequence[int], prompted: Mapping[int, Mapping[int, Brief]]) -> Timeline:
    """Every object over time.

    Args:
        log: what was tracked.
        object_ids: the objects to show.
        prompted: object -> frame -> what came of the prompts there.
    """
    objects = [_line(log, object_id, prompted.get(object_id, {})) for object_id in object_ids]
    return Timeline(num_frames=log.num_frames, objects=tuple(objects))


def _line(log: TrackedLog, object_id: int, prompted: Mapping[int, Brief]) -> TimelineObject:
    series = log.series(object_id)
    own = sorted(prompted)
    tracked = ~np.isin(series.frames, own)
    frames = np.concatenate((series.frames[tracked], np.array(own, np.int64)))
    areas = np.concatenate((series.areas[tracked], np.array([prompted[frame].area for frame in own], np.float64)))
    scores = np.concatenate((series.ious[tracked], np.array([prompted[frame].score for frame in own], np.float64)))
    order = np.argsort(frames, kind="stable")
    share = areas[order] / (log.size[0] * log.size[1])
    return TimelineObject.model_construct(
        object_id=object_id,
        prompted=tuple(own),
        frames=tuple(frames[order].tolist()),
        areas=tuple(np.round(share, 6).tolist()),
        scores=tuple(np.round(scores[order], 4).tolist()),
    )
