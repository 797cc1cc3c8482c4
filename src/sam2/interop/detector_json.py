"""Boxes as detectors write them into JSON, whichever of the known layouts it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sam2.interop.annotations import DEFAULT_LABEL, Box

KNOWN_LAYOUTS = (
    "a COCO file (images, annotations), COCO results ([{image_id, bbox, ...}]), zero-shot results of transformers "
    "({boxes, scores, labels}, one, a list with image names, or by image name), entries with a box ([{name, box}], as "
    "ultralytics and pipelines of transformers write them), lists of [x0, y0, x1, y1], JSON of sam2 image"
)
_LARGEST = 1e12
"""No coordinate or score is larger; JSON knows whole numbers that no float holds."""

BOX_FORMATS = ("xyxy", "xywh", "cxcywh")

_IMAGE_KEYS = ("file_name", "image", "image_path", "image_id")
_LABEL_KEYS = ("category_name", "class_name", "name", "text_label", "label", "category_id", "class")
_SCORE_KEYS = ("score", "confidence", "predicted_iou")
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))


class LayoutError(ValueError):
    """What is wrong, and in which entry; who has opened the file adds its name."""


@dataclass(frozen=True, slots=True)
class RawBox:
    """A box in the unit of its file.

    Attributes:
        edges: (x0, y0, x1, y1), finite and in order.
        label: name of its class.
        score: 0..1 as a rule, None where there is none.
        where: the entry it was read from, for errors.
    """

    edges: Box
    label: str
    score: float | None
    where: str


@dataclass(slots=True)
class RawImage:
    """The boxes of one picture.

    Attributes:
        name: of the picture as the file has it; None for boxes that are not said to belong to any.
        size: (width, height) if the file says so.
        normalized: whether edges are shares of width and height; None where the file does not say.
    """

    name: str | None
    boxes: list[RawBox] = field(default_factory=list[RawBox])
    size: tuple[int, int] | None = None
    normalized: bool | None = None


def read_layout(value: Any, names: Mapping[int, str]) -> list[RawImage]:
    """The pictures that a JSON value speaks of: each name once, or a single one without a name.

    Args:
        value: what the file holds.
        names: names of classes by number, for entries that give numbers only.

    Raises:
        LayoutError: the layout is none of the known ones, or an entry of it is wrong.
    """
    images = list(_images(value, names))
    unnamed = sum(image.name is None for image in images)
    if unnamed and len(images) > 1:
        raise LayoutError(
            f"{unnamed} of {len(images)} results do not say which image they are of: give each an 'image', or one "
            "result for all images"
        )
    merged: dict[str | None, RawImage] = {}
    for image in images:
        first = merged.setdefault(image.name, image)
        if first is not image:
            if (first.size, first.normalized) != (image.size, image.normalized):
                raise LayoutError(f"image {image.name!r} is there twice, with different sizes or units")
            first.boxes.extend(image.boxes)
    return list(merged.values())


def label_of(value: Any, names: Mapping[int, str]) -> str:
    """The name of a class given by name or number; numbers without a name are written as they are."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        return names.get(int(value), str(int(value)))
    return DEFAULT_LABEL


def check_box(numbers: Any, where: str, box_format: str = "xyxy") -> Box:
    """(x0, y0, x1, y1) of a box in one of ``BOX_FORMATS``.

    Raises:
        LayoutError: these are not four finite numbers, or the box is reversed or of negative size.
    """
    if not isinstance(numbers, list | tuple) or len(cast(list[Any], numbers)) != 4:
        raise LayoutError(f"{where}: a box must be four numbers ({box_format}), got {_short(numbers)}")
    values = [number(value, where) for value in cast(list[Any], numbers)]
    a, b, c, d = values
    if box_format == "xywh":
        edges = (a, b, a + c, b + d)
    elif box_format == "cxcywh":
        edges = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
    else:
        edges = (a, b, c, d)
    if edges[2] < edges[0] or edges[3] < edges[1]:
        wanted = "x0 <= x1 and y0 <= y1" if box_format == "xyxy" else "width and height of at least 0"
        raise LayoutError(f"{where}: a box ({box_format}) must have {wanted}, got {values}")
    return edges


def number(value: Any, where: str) -> float:
    """``value`` as a float, if it is a finite number.

    Raises:
        LayoutError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise LayoutError(f"{where}: expected a finite number, got {_short(value)}")
    return float(value)


def _images(value: Any, names: Mapping[int, str]) -> Iterator[RawImage]:
    if isinstance(value, dict):
        record = cast(dict[str, Any], value)
        if isinstance(record.get("images"), list) and isinstance(record.get("annotations"), list):
            yield from _coco(record, names)
        elif isinstance(record.get("annotations"), list) and _names_images(record["annotations"]):
            yield from _entries(record["annotations"], "annotations", names)
        elif _is_result(record):
            yield _result(record, "", names)
        elif record and all(isinstance(item, list) or _is_result(item) for item in record.values()):
            for name, item in record.items():
                image = _one(item, f"image {name!r}", names)
                yield RawImage(name, image.boxes, image.size, image.normalized)
        else:
            raise _unknown(record)
    elif isinstance(value, list):
        items = cast(list[Any], value)
        if items and all(_is_result(item) for item in items):
            yield from (_result(item, f"result {index}", names) for index, item in enumerate(items))
        else:
            yield from _entries(items, "", names)
    else:
        raise _unknown(value)


def _is_result(value: Any) -> bool:
    """Whether this is all that is said of one picture."""
    return isinstance(value, dict) and any(key in value for key in ("boxes", "objects", "annotations"))


def _names_images(entries: list[Any]) -> bool:
    return any(isinstance(entry, dict) and _image_name(cast(dict[str, Any], entry)) is not None for entry in entries)


def _one(value: Any, where: str, names: Mapping[int, str]) -> RawImage:
    if not isinstance(value, list):
        return _result(value, where, names)
    images = list(_entries(cast(list[Any], value), where, names))
    return RawImage(None, [box for image in images for box in image.boxes])


def _result(record: Mapping[str, Any], where: str, names: Mapping[int, str]) -> RawImage:
    """Boxes with scores and labels beside them, or a list of entries below ``objects`` or ``annotations``."""
    image = RawImage(_image_name(record), size=_size(record), normalized=_normalized(record, where))
    if "boxes" not in record:
        key = "objects" if "objects" in record else "annotations"
        for index, entry in enumerate(_list(record[key], key, where)):
            image.boxes.append(_entry(entry, _at(where, key, index), names, _box_format(record, where)))
        return image
    boxes = _list(record["boxes"], "boxes", where)
    labels = next((record[key] for key in ("text_labels", "labels") if record.get(key) is not None), None)
    columns: list[list[Any]] = []
    for key, column in (("labels", labels), ("scores", record.get("scores"))):
        column = [None] * len(boxes) if column is None else _list(column, key, where)
        if len(column) != len(boxes):
            raise LayoutError(f"{_at(where, key)} has {len(column)} entries for {len(boxes)} boxes")
        columns.append(column)
    box_format = _box_format(record, where) or "xyxy"
    for index, (box, label, score) in enumerate(zip(boxes, *columns, strict=True)):
        place = _at(where, "box", index)
        score = None if score is None else number(score, f"{place}, score")
        image.boxes.append(RawBox(check_box(box, place, box_format), label_of(label, names), score, place))
    return image


def _entries(entries: list[Any], where: str, names: Mapping[int, str]) -> Iterator[RawImage]:
    """One entry a box, by the pictures they are of, or of no picture in particular."""
    if len(entries) == 4 and not any(isinstance(item, list | dict) for item in entries):
        entries = [entries]
    images: dict[str | None, RawImage] = {} if entries else {None: RawImage(None)}
    for index, entry in enumerate(entries):
        place = _at(where, "entry", index)
        name = _image_name(cast(dict[str, Any], entry)) if isinstance(entry, dict) else None
        images.setdefault(name, RawImage(name)).boxes.append(_entry(entry, place, names))
    yield from images.values()


def _entry(entry: Any, where: str, names: Mapping[int, str], box_format: str | None = None) -> RawBox:
    """A box as four numbers or as an object: ``bbox`` is COCO's xywh, ``box`` two corners, unless a format is given."""
    if isinstance(entry, list):
        return RawBox(check_box(entry, where, box_format or "xyxy"), DEFAULT_LABEL, None, where)
    if not isinstance(entry, dict) or not ("bbox" in entry or "box" in entry):
        raise LayoutError(f"{where}: expected a box, or an object with 'bbox' or 'box', got {_short(entry)}")
    record = cast(dict[str, Any], entry)
    key = "bbox" if "bbox" in record else "box"
    numbers: Any = record[key]
    if isinstance(numbers, dict):
        corners = cast(dict[str, Any], numbers)
        keys = next((keys for keys in _CORNERS if corners.keys() == set(keys)), None)
        if keys is None:
            wanted = " or ".join(str(list(keys)) for keys in _CORNERS)
            raise LayoutError(f"{where}: a box must have {wanted}, got {sorted(corners)}")
        numbers, key = [corners[name] for name in keys], "box"
    edges = check_box(numbers, where, box_format or ("xywh" if key == "bbox" else "xyxy"))
    label = next((record[key] for key in _LABEL_KEYS if record.get(key) is not None), None)
    score = next((record[key] for key in _SCORE_KEYS if record.get(key) is not None), None)
    if isinstance(score, list) and len(cast(list[Any], score)) == 1:
        score = cast(list[Any], score)[0]
    return RawBox(edges, label_of(label, names), None if score is None else number(score, f"{where}, score"), where)


def _coco(record: Mapping[str, Any], names: Mapping[int, str]) -> Iterator[RawImage]:
    found: dict[int, str] = {}
    for index, entry in enumerate(_list(record.get("categories", []), "categories", "")):
        category = _object(entry, f"categories {index}")
        found[category.get("id", -1)] = str(category.get("name"))
    names = {**found, **names}
    images: dict[Any, RawImage] = {}
    for index, entry in enumerate(record["images"]):
        item = _object(entry, f"images {index}")
        if not isinstance(item.get("id"), int | str) or not isinstance(item.get("file_name"), str):
            raise LayoutError(f"images {index} must have an id and a file_name, got {_short(item)}")
        images[item["id"]] = RawImage(item["file_name"], size=_size(item), normalized=False)
    for index, entry in enumerate(record["annotations"]):
        place = f"annotations {index}"
        image_id = _object(entry, place).get("image_id")
        if not isinstance(image_id, int | str) or image_id not in images:
            raise LayoutError(f"{place}: image_id {_short(image_id)} is not among the images")
        images[image_id].boxes.append(_entry(entry, place, names))
    yield from images.values()


def _image_name(record: Mapping[str, Any]) -> str | None:
    for key in _IMAGE_KEYS:
        value = record.get(key)
        if isinstance(value, dict):  # SA-1B has an object there
            return _image_name(cast(dict[str, Any], value))
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            return str(value)
    return None


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    if isinstance(record.get("image"), dict):
        return _size(record["image"])
    for keys in (("width", "height"), ("img_width", "img_height")):
        width, height = (record.get(key) for key in keys)
        if isinstance(width, int) and isinstance(height, int):
            return width, height
    return None


def _normalized(record: Mapping[str, Any], where: str) -> bool | None:
    value = record.get("normalized")
    if value is not None and not isinstance(value, bool):
        raise LayoutError(f"{_at(where, 'normalized')} must be true or false, got {_short(value)}")
    # what names the size of its picture means pixels of it, unless it says otherwise
    return False if value is None and _size(record) is not None else value


def _box_format(record: Mapping[str, Any], where: str) -> str | None:
    value = record.get("box_format")
    if value is not None and value not in BOX_FORMATS:
        raise LayoutError(f"{_at(where, 'box_format')} must be one of {', '.join(BOX_FORMATS)}, got {_short(value)}")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LayoutError(f"{where}: expected an object, got {_short(value)}")
    return cast(dict[str, Any], value)


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise LayoutError(f"{_at(where, key)} must be a list, got {_short(value)}")
    return cast(list[Any], value)


def _at(where: str, key: str, index: int | None = None) -> str:
    place = key if index is None else f"{key} {index}"
    return f"{where}, {place}" if where else place


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown(value: Any) -> LayoutError:
    shown = f"an object with {list(cast(dict[str, Any], value))[:6]}" if isinstance(value, dict) else _short(value)
    return LayoutError(f"no layout of boxes that is known, got {shown}; known are {KNOWN_LAYOUTS}")
