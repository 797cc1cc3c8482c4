"""What can be exported, in words that people know."""

from sam2.interop.formats import FORMATS
from sam2.viz import EFFECTS
from sam2.web.errors import StudioError
from sam2.web.schemas import ExportChoice, ExportChoices, ExportRequest, Kind

_TITLES = {
    "coco": "COCO (exact masks)",
    "coco-polygons": "COCO (polygons)",
    "yolo": "YOLO segmentation",
    "yolo-boxes": "YOLO boxes",
    "davis": "PNG masks (DAVIS)",
    "sa1b": "SA-1B",
    "sav": "SA-V",
    "cvat": "CVAT",
    "label-studio": "Label Studio",
    "labelme": "LabelMe",
    "geojson": "GeoJSON",
}
_EFFECT_TITLES = {
    "overlay": "Overlay",
    "contour": "Contours",
    "spotlight": "Spotlight",
    "cutout": "Cut-out with alpha",
    "blur-background": "Blurred background",
    "blur-object": "Blurred objects",
    "pixelate-background": "Pixelated background",
    "pixelate-object": "Pixelated objects",
    "trail": "Trail",
}


def choices(kind: Kind) -> ExportChoices:
    """What can be exported of a project of a kind."""
    video = kind == "video"
    formats = [
        ExportChoice(name=item.name, title=_TITLES.get(item.name, item.name), files=item.files)
        for item in FORMATS.values()
        if (item.videos if video else item.images)
    ]
    effects = [
        ExportChoice(name=name, title=_EFFECT_TITLES.get(name, name), files=ending(name, kind))
        for name in EFFECTS
        if video or name != "trail"
    ]
    return ExportChoices(formats=tuple(formats), effects=tuple(effects))


def ending(effect: str, kind: Kind) -> str:
    """The kind of file that an effect gives."""
    if kind == "video":
        return ".webm" if effect == "cutout" else ".mp4"
    return ".png" if effect == "cutout" else ".jpg"


def check_request(request: ExportRequest, kind: Kind) -> None:
    """Raises:
    StudioError: 422, nothing is asked for, or something that there is not.
    """
    known = choices(kind)
    if not request.formats and not request.effects:
        raise StudioError(422, "choose at least one format or effect")
    for what, wanted, there in (("format", request.formats, known.formats), ("effect", request.effects, known.effects)):
        names = [item.name for item in there]
        for name in wanted:
            if name not in names:
                raise StudioError(422, f"there is no {what} {name[:50]!r} here; there are {', '.join(names)}")
