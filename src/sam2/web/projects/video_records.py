"""The frames of a video as all formats take them."""

from collections.abc import Mapping

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, ObjectAnnotation, VideoInfo
from sam2.web.schemas import FrameObject, FrameState, StudioObject


def annotated(state: FrameState, objects: Mapping[int, StudioObject], video: VideoInfo) -> AnnotatedImage:
    """A frame and its objects; those that are not seen there are left out.

    Args:
        state: what is known of the frame.
        objects: all that are there, by number.
        video: which the frame is of.
    """
    found = tuple(
        _annotation(item, objects[item.object_id]) for item in state.objects if item.area and item.object_id in objects
    )
    stem = video.name.rpartition(".")[0] or video.name
    name = state.name if "." in state.name else f"{state.frame:05d}.jpg"  # frames that are files have names
    return AnnotatedImage(f"{stem}/{name}", video.width, video.height, found, video, state.frame)


def _annotation(item: FrameObject, known: StudioObject) -> ObjectAnnotation:
    assert item.mask is not None  # it has an area
    drawn = item.prompts is not None and item.prompts.mask is not None and not item.prompts.points
    return ObjectAnnotation.from_rle(
        {"size": list(item.mask.size), "counts": item.mask.counts},
        label=known.label or DEFAULT_LABEL,
        track_id=item.object_id,
        score=None if drawn else item.score,
        attributes={"name": known.name},
    )
