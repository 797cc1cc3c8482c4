"""GeoJSON: a FeatureCollection a picture, for GIS tools and QuPath.

An object is a Polygon or MultiPolygon with its holes as rings, in pixels with y downwards or, through an affine
``transform``, in the coordinates of a map. Rings run as RFC 7946 says, seen with y upwards. Everything else stands in
``properties``, and once more beside the features what concerns the picture. Empty masks are lost.

A transform is six numbers in the order of rasterio and ``affine``: (a, b, c, d, e, f), where x' = a x + b y + c and
y' = d x + e y + f. GDAL writes the same as (c, a, b, f, d, e).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from sam2.interop.annotations import DEFAULT_LABEL, AnnotatedImage, Annotations, ObjectAnnotation, VideoInfo
from sam2.interop.entries import Entry, as_kind, at
from sam2.interop.files import DraftFolder, JsonObjectDraft, inner_path
from sam2.interop.pictures import PictureFolder
from sam2.interop.polygons import Polygon, check_polygon, mask_to_rings, rings_to_mask

Transform = tuple[float, float, float, float, float, float]
Rings = list[Polygon]

_PICTURE = "picture"
_SUFFIXES = (".geojson", ".json")


class GeojsonWriter:
    """Writes ``geojson/NAME.geojson``; a picture ``a/b.jpg`` has its features in ``geojson/a/b.geojson``.

    Args:
        output: the folder to write to.
        labels: names of classes; GeoJSON has no numbers for them, so they are not needed.
        transform: from pixels to coordinates of a map (see above); the same for all pictures.
        tolerance: how far outlines may be from the exact ones, in pixels.
    """

    def __init__(
        self,
        output: Path,
        *,
        labels: Sequence[str] = (),
        transform: Sequence[float] | None = None,
        tolerance: float = 0.0,
    ) -> None:
        self._transform = None if transform is None else _check_transform(transform)
        self._tolerance = tolerance
        self._folder = DraftFolder(output / "geojson")

    def add(self, image: AnnotatedImage) -> None:
        """Write one picture."""
        place = self._folder.place(inner_path(image.name).with_suffix(".geojson"), unique=True)
        picture = _picture(image)
        draft = JsonObjectDraft(place, "features")
        try:
            for item in image.objects:
                geometry = self._geometry(item)
                if geometry is not None:
                    properties = _properties(item) | {_PICTURE: image.name}
                    draft.add({"type": "Feature", "geometry": geometry, "properties": properties})
            mapped = {} if self._transform is None else {"transform": list(self._transform)}
            draft.close({"type": "FeatureCollection", _PICTURE: picture | mapped})
        except BaseException:
            draft.discard()
            raise

    def close(self) -> list[Path]:
        """Finish; the folder."""
        self._folder.close()
        return [self._folder.path]

    def discard(self) -> None:
        """Leave nothing; does nothing after ``close``."""
        self._folder.discard()

    def _geometry(self, item: ObjectAnnotation) -> dict[str, Any] | None:
        x0, y0, x1, y1 = item.box
        if item.rle is None:
            parts: list[Rings] = [[np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])]]
        else:
            parts = mask_to_rings(item.mask(), tolerance=self._tolerance)
        mapped = [[self._closed(ring, hole=number > 0) for number, ring in enumerate(rings)] for rings in parts]
        if len(mapped) == 1:
            return {"type": "Polygon", "coordinates": mapped[0]}
        return {"type": "MultiPolygon", "coordinates": mapped} if mapped else None

    def _closed(self, ring: Polygon, *, hole: bool) -> list[list[float]]:
        """A ring in the file's coordinates that ends where it began, counterclockwise unless it is a ``hole``."""
        points = ring if self._transform is None else _apply(self._transform, ring)
        following = np.roll(points, -1, axis=0)
        # about its first vertex: coordinates of maps are large
        x, y = (points - points[0]).T
        next_x, next_y = (following - points[0]).T
        if (float((x * next_y - next_x * y).sum()) < 0) != hole:
            points = points[::-1]
        rows: list[list[float]] = np.concatenate((points, points[:1])).tolist()
        return [[int(value) if value.is_integer() else value for value in row] for row in rows]


def _picture(image: AnnotatedImage) -> dict[str, Any]:
    picture: dict[str, Any] = {"name": image.name, "width": image.width, "height": image.height}
    if image.video is not None:
        video = {"name": image.video.name, "num_frames": image.video.num_frames, "fps": image.video.fps}
        picture |= {"video": video, "frame": image.frame}
    return picture


def _properties(item: ObjectAnnotation) -> dict[str, Any]:
    # the first two are what QuPath goes by
    properties: dict[str, Any] = {"objectType": "annotation", "classification": {"name": item.label}}
    properties["label"] = item.label
    known = {"score": item.score, "track_id": item.track_id, "attributes": dict(item.attributes) or None}
    known["box_only"] = True if item.rle is None else None
    return properties | {name: value for name, value in known.items() if value is not None}


def read_geojson(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a file, or all of a folder and the folders in it.

    A file by somebody else is in pixels and belongs to the picture that is called as it is. Each feature is an object,
    its class is ``label``, QuPath's ``classification``, ``class`` or ``name`` among the properties. Points and lines
    are left out.

    Args:
        path: file or folder.
        images: folder of the pictures, where a file does not know its picture's size.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: something in it is wrong; the message names the file and the feature.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    base = path if path.is_dir() else path.parent
    files = [path]
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        files = sorted(file for file in found if not file.name.startswith("."))
        if not files:
            raise ValueError(f"{path} holds no GeoJSON file")
    pictures = None if images is None else PictureFolder(images)
    videos: dict[str, VideoInfo] = {}
    read = [_read(file, PurePosixPath(file.relative_to(base)), pictures, videos) for file in files]
    order = {name: number for number, name in enumerate(videos)}
    # still pictures first, then one video after the other
    read.sort(key=lambda image: (-1, 0) if image.video is None else (order[image.video.name], image.frame or 0))
    return Annotations(read)


def _read(
    file: Path, key: PurePosixPath, pictures: PictureFolder | None, videos: dict[str, VideoInfo]
) -> AnnotatedImage:
    document = Entry.read(file)
    picture = Entry(document.find(_PICTURE, dict, {}), f"{file}: {_PICTURE}")
    kind = document.get("type", str)
    if kind == "FeatureCollection":
        document.items("features")
        features = list(document.entries("features"))
    elif kind == "Feature":
        features = [document]
    else:
        raise ValueError(f"{file}: 'type' must be FeatureCollection or Feature, got {kind!r}")
    name, size = _name_and_size(picture, key, pictures)
    inverse = _inverse(picture.numbers("transform", 6), picture.place) if "transform" in picture else None
    objects = tuple(item for feature in features if (item := _object(feature, size, inverse)) is not None)
    video = frame = None
    if "video" in picture:
        known = Entry(picture.get("video", dict), f"{picture.place}: video")
        title, total, fps = known.get("name", str), known.find("num_frames", int), known.find("fps", float)
        video, frame = (
            videos.setdefault(title, VideoInfo(title, size[1], size[0], total, fps)),
            picture.get("frame", int),
        )
    with at(str(file)):
        return AnnotatedImage(name, size[1], size[0], objects, video, frame)


def _name_and_size(picture: Entry, key: PurePosixPath, pictures: PictureFolder | None) -> tuple[str, tuple[int, int]]:
    """The name of the picture that a file is about, and its (height, width)."""
    bare = key.with_suffix("").as_posix()
    name = picture.find("name", str)
    if "width" in picture and "height" in picture:
        return name or f"{bare}.jpg", picture.size()
    if pictures is None:
        raise ValueError(f"{picture.place}: no width and height; the folder of the pictures (images=) would tell them")
    found = pictures.find(name or bare)
    if found is None:
        raise ValueError(f"{picture.place}: {pictures.folder} holds no picture {name or bare}")
    return name or found, pictures.size(found)


def _object(feature: Entry, size: tuple[int, int], inverse: Transform | None) -> ObjectAnnotation | None:
    """The object of a feature; None of a point, a line or nothing."""
    if feature.get("type", str) != "Feature":
        raise ValueError(f"{feature.place}: 'type' must be Feature, got {feature.get('type', str)!r}")
    properties = Entry(feature.find("properties", dict, {}), f"{feature.place}: properties")
    geometry = Entry(feature.find("geometry", dict, {"type": "none"}), f"{feature.place}: geometry")
    kind = geometry.get("type", str)
    if kind not in ("Polygon", "MultiPolygon"):
        return None
    coordinates = geometry.items("coordinates")
    with at(f"{geometry.place}: 'coordinates'"):
        parts = list(_parts(coordinates if kind == "MultiPolygon" else [coordinates], inverse))
    fields: dict[str, Any] = {"label": _label(properties), "score": properties.find("score", float)}
    fields |= {"track_id": properties.find("track_id", int), "attributes": properties.find("attributes", dict, {})}
    with at(feature.place):
        if properties.fields.get("box_only") and parts and parts[0]:
            corners = parts[0][0]
            (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
            return ObjectAnnotation((x0, y0, x1, y1), **fields)
        return ObjectAnnotation.from_mask(rings_to_mask(parts, size), **fields)


def _label(properties: Entry) -> str:
    known = properties.fields
    classification = cast(object, known.get("classification"))
    if isinstance(classification, Mapping):
        classification = cast(Mapping[str, object], classification).get("name")
    for value in (known.get("label"), classification, known.get("class"), known.get("name")):
        if isinstance(value, str) and value:
            return value
    return DEFAULT_LABEL


def _parts(values: Sequence[Any], inverse: Transform | None) -> Iterator[Rings]:
    """Rings of each polygon, in pixels."""
    for number, part in enumerate(values):
        rings: Rings = []
        with at(f"polygon {number}"):
            for ring in cast(list[Any], as_kind(part, list)):
                points = [_position(position) for position in cast(list[Any], as_kind(ring, list))]
                if len(points) < 4 or points[0] != points[-1]:
                    raise ValueError("a ring must hold four positions at least and end where it begins")
                array = np.array(points[:-1])
                rings.append(check_polygon(array if inverse is None else _apply(inverse, array)))
        yield rings


def _position(value: Any) -> tuple[float, float]:
    numbers = cast(list[Any], as_kind(value, list))
    if len(numbers) < 2:
        raise ValueError(f"a position must be (x, y), got {len(numbers)} numbers")
    return as_kind(numbers[0], float), as_kind(numbers[1], float)


def _check_transform(transform: Sequence[float]) -> Transform:
    values = tuple(float(value) for value in transform)
    if len(values) not in (6, 9) or not np.isfinite(values).all():
        raise ValueError(f"transform must be six finite numbers (a, b, c, d, e, f), got {tuple(transform)}")
    checked = cast(Transform, values[:6])  # rasterio's has a last row (0, 0, 1), too
    _inverse(checked, "transform")
    return checked


def _inverse(transform: Sequence[float], place: str) -> Transform:
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    if not determinant:
        raise ValueError(f"{place}: a transform must have an inverse, {tuple(transform)} has none")
    a, b, d, e = e / determinant, -b / determinant, -d / determinant, a / determinant
    return a, b, -(a * c + b * f), d, e, -(d * c + e * f)


def _apply(transform: Transform, points: Polygon) -> Polygon:
    a, b, c, d, e, f = transform
    x, y = points[:, 0], points[:, 1]
    return np.stack((a * x + b * y + c, d * x + e * y + f), axis=1)
