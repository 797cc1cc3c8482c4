"""What the server's calls take and give. The page, the OpenAPI document and the files of a project speak of these.

Coordinates are (x, y) in pixels of the picture or frame as it is shown (upright), x to the right, y down. Frames are
numbered from 0; in a set of photos each photo is a frame. Masks are compressed COCO run-length encodings.
"""

from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Kind = Literal["images", "video"]
Status = Literal["todo", "done", "review", "skipped"]
Direction = Literal["forward", "backward", "both"]
Source = Literal["prompts", "tracking", "everything"]
FrameNumber = Annotated[int, Field(ge=0, le=10_000_000)]
ObjectNumber = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
MaskForm = Literal["rle", "png", "polygons"]
FIRST_ERROR = pydantic.FailFast() if hasattr(pydantic, "FailFast") else None
"""Of a long list, the first thing that is wrong is told: telling of a million would take a minute."""
MOST_FIELDS, MOST_ENTRIES = 100, 10_000
"""No schema has so many, and no list of a request."""


def _not_endless(data: object) -> object:
    if isinstance(data, list | tuple) and len(data) > MOST_ENTRIES:
        raise ValueError(f"at most {MOST_ENTRIES} entries are allowed")
    return data


class Schema(BaseModel):
    """Unknown fields and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _not_boundless(cls, data: object) -> object:
        if isinstance(data, dict) and len(data) > MOST_FIELDS:  # each would be told of
            raise ValueError(f"at most {MOST_FIELDS} fields are allowed")
        return data


class RleMask(Schema):
    """A mask: (height, width), and its runs column by column as COCO's compressed string."""

    size: tuple[int, int]
    counts: Annotated[str, Field(max_length=4_000_000)]


class Point(Schema):
    """A click: label 1 says that the object is here, 0 that it is not."""

    x: Coordinate
    y: Coordinate
    label: Literal[0, 1] = 1


class Prompts(Schema):
    """All that is said of an object on a frame. What is put there replaces what was said before.

    ``mask`` is the object as the user drew it; points beside it refine it. ``box`` is (x0, y0, x1, y1). Box and mask
    exclude each other. Nothing at all takes everything back; an empty mask says that the object is not there.
    """

    points: Annotated[tuple[Point, ...], FIRST_ERROR, Field(max_length=500)] = ()
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    mask: RleMask | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is said."""
        return not self.points and self.box is None and self.mask is None


class StudioObject(Schema):
    """An object: of one photo (``frame`` says which), or of the whole video (``frame`` is null)."""

    id: ObjectNumber
    name: Name
    label: Name = "object"
    colour: Colour
    visible: bool = True
    frame: FrameNumber | None = None


class NewObject(Schema):
    """A new object; what is not given is chosen. ``frame`` must be given in a set of photos, and only there."""

    name: Name | None = None
    label: Name | None = None
    colour: Colour | None = None
    frame: FrameNumber | None = None


class ObjectChange(Schema):
    """What to change of an object. ``deleted: false`` brings back an object that was deleted, with all its masks."""

    name: Name | None = None
    label: Name | None = None
    colour: Colour | None = None
    visible: bool | None = None
    deleted: bool | None = None


class FrameObject(Schema):
    """An object on a frame: what was said of it there, and its mask.

    ``mask`` is null where nothing is known, and of area 0 where the object is not seen. ``score`` is the predicted
    IoU, 0..1. ``box`` is (x0, y0, x1, y1), the edges of the mask.
    """

    object_id: ObjectNumber
    prompts: Prompts | None = None
    mask: RleMask | None = None
    area: int = 0
    box: tuple[float, float, float, float] | None = None
    score: float = 0.0
    source: Source | None = None


class FrameState(Schema):
    """All that is known of a frame."""

    frame: FrameNumber
    name: str
    width: int
    height: int
    status: Status = "todo"
    objects: tuple[FrameObject, ...] = ()


class FrameSummary(Schema):
    """A line in the list of photos."""

    frame: FrameNumber
    name: str
    status: Status
    objects: int


class StatusChange(Schema):
    """What a person says of a frame."""

    status: Status


class Preview(Schema):
    """A mask that is shown while the pointer hovers; nothing is kept of it."""

    mask: RleMask
    score: float


class JobState(Schema):
    """Work in the background: tracking, finding everything, exporting. ``url`` is where the result of an export is."""

    id: str
    kind: Literal["track", "everything", "export"]
    state: Literal["running", "paused", "done", "failed"]
    done: int = 0
    total: int = 0
    frame: FrameNumber | None = None
    per_second: float | None = None
    message: str = ""
    url: str | None = None


class ProjectState(Schema):
    """A project that is open. ``width`` and ``height`` are of the first frame; ``fps`` is of videos."""

    name: Name
    title: str
    kind: Kind
    model: str
    num_frames: int
    width: int
    height: int
    fps: float | None = None
    objects: tuple[StudioObject, ...] = ()
    labels: tuple[str, ...] = ()
    last_frame: FrameNumber = 0
    statuses: dict[Status, int] = {}
    job: JobState | None = None


class ProjectSummary(Schema):
    """A line in the list of projects. ``changed``: seconds since 1970; ``missing``: the source is gone."""

    name: Name
    title: str
    kind: Kind
    num_frames: int
    changed: float
    missing: bool = False


class MediaEntry(Schema):
    """A file or folder that may be opened. ``path`` is relative to the allowed folder, with forward slashes."""

    name: str
    path: str
    kind: Literal["folder", "image", "video"]
    size: int | None = None
    images: int | None = None


class MediaListing(Schema):
    """What is in a folder. ``parent`` is null at the top."""

    folder: str
    parent: str | None
    entries: tuple[MediaEntry, ...]


class UploadState(Schema):
    """What was uploaded so far under ``upload``."""

    upload: str
    kind: Kind
    files: tuple[str, ...]
    size: int


class NewProject(Schema):
    """Open a file or folder (``path``), or what was uploaded (``upload``): exactly one of the two.

    Without ``name``, a project of the same source that is there already is resumed. ``kind`` "video" takes the photos
    of a folder, or of an upload, as the frames of a video.
    """

    path: Annotated[str, Field(max_length=4096)] | None = None
    upload: Annotated[str, Field(max_length=100)] | None = None
    name: Name | None = None
    kind: Literal["video"] | None = None


class TrackRequest(Schema):
    """Track from ``start`` (the frame shown). ``stop`` is the last frame, the end of the video by default."""

    direction: Direction = "forward"
    start: FrameNumber
    stop: FrameNumber | None = None
    object_ids: Annotated[tuple[ObjectNumber, ...], BeforeValidator(_not_endless)] | None = None


class EverythingRequest(Schema):
    """Find all objects of a frame that are not known there yet."""

    points_per_side: Annotated[int, Field(ge=1, le=64)] = 16
    max_masks: Annotated[int, Field(ge=1, le=500)] = 100
    label: Name | None = None


class ExportRequest(Schema):
    """What to write: names of formats and of effects; ``done`` frames only, or all that have masks."""

    formats: Annotated[tuple[str, ...], FIRST_ERROR, Field(max_length=30)] = ()
    effects: Annotated[tuple[str, ...], FIRST_ERROR, Field(max_length=10)] = ()
    only_done: bool = False


class ExportChoice(Schema):
    """A format or effect that can be exported."""

    name: str
    title: str
    files: str


class ExportChoices(Schema):
    """All that can be exported of a project."""

    formats: tuple[ExportChoice, ...]
    effects: tuple[ExportChoice, ...]


class TimelineObject(Schema):
    """An object over time: where it is prompted, and where it is known, how large (share of the frame) and how sure."""

    object_id: ObjectNumber
    prompted: tuple[int, ...]
    frames: tuple[int, ...]
    areas: tuple[float, ...]
    scores: tuple[float, ...]


class Timeline(Schema):
    """All objects over time."""

    num_frames: int
    objects: tuple[TimelineObject, ...]


class SegmentPrompt(Schema):
    """One object of ``POST /v1/segment``: points, a box or both, or a rough mask with or without points."""

    points: Annotated[tuple[Point, ...], FIRST_ERROR, Field(max_length=500)] = ()
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    mask: RleMask | None = None


class SegmentRequest(Schema):
    """A picture (the bytes of a file, base64) and what to segment in it."""

    image: str
    prompts: Annotated[tuple[SegmentPrompt, ...], FIRST_ERROR, Field(min_length=1, max_length=256)]
    masks: MaskForm = "rle"
    multimask: bool = False


class SegmentedMask(Schema):
    """A mask in the form that was asked for: ``png`` is base64, ``polygons`` are rings of x, y, x, y, ..."""

    prompt: int
    score: float
    area: int
    box: tuple[float, float, float, float]
    rle: RleMask | None = None
    png: str | None = None
    polygons: tuple[tuple[float, ...], ...] | None = None


class SegmentResponse(Schema):
    """Masks in the order of the prompts; with ``multimask`` three of each, best first."""

    width: int
    height: int
    model: str
    masks: tuple[SegmentedMask, ...]
    seconds: float


class ServerState(Schema):
    """What runs here."""

    version: str
    model: str
    device: str
    open: str | None = None
    files: bool
    upload_limit: int


class Problem(Schema):
    """Every error: one sentence that says what is wrong."""

    detail: str
