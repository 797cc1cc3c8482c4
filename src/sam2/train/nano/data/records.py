"""Readers of the training sets, one record a photo.

Each reader yields :class:`ImageRecord`: the path of a photo and its objects as cropped masks, in pixels of the photo.
Objects may overlap (a coat and the person in it). ``kind`` says how much an object resembles what people click on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.interop.rle import decode_mask

KINDS = ("thing", "whole", "group", "part", "stuff", "salient")
"""Countable objects; whole persons made of labelled clothes; riders with what they ride; clothes; sky and the like;
what a saliency teacher saw (``sam2.train.nano.data.teacher``)."""

PERSON = 1
RIDDEN = frozenset({2, 4, 19, 35, 36, 41, 42})
"""COCO categories that form one silhouette with a person: bicycle, motorcycle, horse, skis, boards."""

MIN_STUFF_SHARE = 0.01
MIN_AREA = 64
_FINE = 4


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """One object of a photo.

    Attributes:
        mask: [h, w] bool, cropped to the object's box.
        x, y: where the crop's top left pixel lies in the photo.
        kind: one of ``KINDS``.
    """

    mask: NDArray[np.bool_]
    x: int
    y: int
    kind: str

    @staticmethod
    def cropped(mask: NDArray[np.bool_], kind: str) -> "ObjectMask":
        """Of a mask the size of the photo; an empty mask gives an empty crop."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return ObjectMask(np.zeros((0, 0), bool), 0, 0, kind)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        return ObjectMask(np.ascontiguousarray(mask[top:bottom, left:right]), int(left), int(top), kind)

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(self.mask.sum())


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A photo and its objects. ``source`` names the set it comes from; photos without masks have no objects."""

    path: Path
    source: str
    objects: list[ObjectMask]

    @property
    def name(self) -> str:
        """What the validation split is drawn by."""
        return f"{self.source}/{self.path.stem}"


def read_all(root: str | Path, teacher: str | Path | None = None) -> Iterator[ImageRecord]:
    """Every training set below ``root`` that is there; ``FileNotFoundError`` if none is.

    ``teacher`` is the folder of masks that ``sam2.train.nano.data.teacher`` wrote: salient objects, which are added,
    and outlines, which take the place of the annotator's.
    """
    root = Path(root)
    readers = {
        "coco128_pan": read_coco_panoptic,
        "coco128_instances": read_coco_instances,
        "ccp": read_clothes,
        "photos": read_photos,
    }
    present = [name for name in readers if (root / name).is_dir()]
    if not present:
        raise FileNotFoundError(f"none of {', '.join(readers)} is a folder of {root}")
    for name in present:
        for record in readers[name](root / name):
            yield record if teacher is None else taught(record, Path(teacher))


def taught(record: ImageRecord, folder: Path) -> ImageRecord:
    """``record`` with what the teacher saw in it.

    In ``folder``/SOURCE, 0 or 255: NAME_NUMBER.png, salient objects; NAME_outline_PLACE.png, that object's outline.
    """
    folder, name = folder / record.source, record.path.stem
    objects = list(record.objects)
    for place, item in enumerate(objects):
        if (png := folder / f"{name}_outline_{place}.png").exists():
            objects[place] = ObjectMask.cropped(_read(png, cv2.IMREAD_GRAYSCALE) > 127, item.kind)
    found = sorted(folder.glob(f"{name}_[0-9].png"))
    masks = [_read(png, cv2.IMREAD_GRAYSCALE) > 127 for png in found]
    salient = [ObjectMask.cropped(mask, "salient") for mask in masks]
    return ImageRecord(record.path, record.source, objects + _sizeable(salient))


def read_coco_panoptic(root: Path) -> Iterator[ImageRecord]:
    """COCO panoptic: an id a pixel in the colours of a PNG, what the ids mean in a JSON beside it."""
    annotations = root / "panoptic_segmentation" / "annotations"
    listings = sorted(annotations.glob("panoptic_*.json"))
    if not listings:
        raise FileNotFoundError(f"no panoptic_*.json in {annotations}")
    for listing in listings:
        split = listing.stem.removeprefix("panoptic_")
        content = json.loads(listing.read_text())
        is_thing = {category["id"]: bool(category["isthing"]) for category in content["categories"]}
        for entry in content["annotations"]:
            photo = root / "images" / split / f"{Path(entry['file_name']).stem}.jpg"
            png = annotations / listing.stem / entry["file_name"]
            if not photo.exists() or not png.exists():
                continue
            blue, green, red = cv2.split(_read(png, cv2.IMREAD_COLOR).astype(np.int32))
            ids = red + 256 * green + 65536 * blue
            objects: list[ObjectMask] = []
            things: list[tuple[int, NDArray[np.bool_]]] = []
            for segment in entry["segments_info"]:
                mask = ids == segment["id"]
                if segment["iscrowd"]:
                    continue
                if is_thing[segment["category_id"]]:
                    things.append((segment["category_id"], mask))
                    objects.append(ObjectMask.cropped(mask, "thing"))
                else:
                    objects.extend(_connected(mask))
            yield ImageRecord(photo, "coco128_pan", _sizeable(objects + _riders(things)))


def read_coco_instances(root: Path) -> Iterator[ImageRecord]:
    """COCO instances: polygons or run lengths in one JSON. Crowds are left out."""
    listings = sorted(root.glob("instances_*.json"))
    if not listings:
        raise FileNotFoundError(f"no instances_*.json in {root}")
    content = json.loads(listings[0].read_text())
    of_image: dict[int, list[dict]] = {}
    for annotation in content["annotations"]:
        of_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in content["images"]:
        height, width = image["height"], image["width"]
        things: list[tuple[int, NDArray[np.bool_]]] = []
        for annotation in of_image.get(image["id"], []):
            if annotation["iscrowd"]:
                continue
            outline = annotation["segmentation"]
            mask = filled(outline, height, width) if isinstance(outline, list) else decode_mask(outline)
            things.append((annotation["category_id"], mask))
        objects = [ObjectMask.cropped(mask, "thing") for _, mask in things]
        photo = root / "images" / image["file_name"]
        yield ImageRecord(photo, "coco128_instances", _sizeable(objects + _riders(things)))


def read_clothes(root: Path) -> Iterator[ImageRecord]:
    """Clothing Co-Parsing: a label a pixel. Each label is a part; all of them together are the person."""
    label_images = sorted((root / "labels").glob("*.png"))
    if not label_images:
        raise FileNotFoundError(f"no label images in {root / 'labels'}")
    for png in label_images:
        labels = _read(png, cv2.IMREAD_GRAYSCALE)
        objects = [ObjectMask.cropped(labels == label, "part") for label in np.unique(labels[labels > 0])]
        person = cv2.morphologyEx((labels > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        objects.append(ObjectMask.cropped(person, "whole"))
        yield ImageRecord(root / "images" / f"{png.stem}.jpg", "ccp", _sizeable(objects))


def read_photos(root: Path) -> Iterator[ImageRecord]:
    """Photos without masks: what cut-outs are pasted on."""
    for photo in sorted(root.rglob("*.jpg")):
        yield ImageRecord(photo, "photos", [])


def read_photo(path: Path) -> NDArray[np.uint8]:
    """[h, w, 3] RGB; ``FileNotFoundError`` names a file that cannot be read."""
    return np.asarray(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise FileNotFoundError(f"cannot read {path}")
    return np.asarray(image, np.uint8)


def filled(polygons: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """[h, w] of COCO polygons ([x0, y0, x1, y1, ...] each, pixel centres at .5): pixels that are covered by half."""
    fine = np.zeros((height * _FINE, width * _FINE), np.uint8)
    for polygon in polygons:
        # OpenCV's pixel centres are whole numbers, and its fixed point keeps four bits below them.
        corners = (np.array(polygon).reshape(-1, 2) * _FINE - 0.5) * 16
        cv2.fillPoly(fine, [np.round(corners).astype(np.int32)], (255,), shift=4)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) > 127


def _sizeable(objects: list[ObjectMask]) -> list[ObjectMask]:
    return [item for item in objects if item.area >= MIN_AREA]


def _connected(mask: NDArray[np.bool_]) -> list[ObjectMask]:
    """The large connected pieces of a stuff segment: nobody means two lawns by one click."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= MIN_STUFF_SHARE * mask.size) + 1
    return [ObjectMask.cropped(labels == label, "stuff") for label in large]


def _riders(things: list[tuple[int, NDArray[np.bool_]]]) -> list[ObjectMask]:
    """Each person together with the one thing they touch that is ridden."""
    groups = []
    people = [mask for category, mask in things if category == PERSON]
    for category, ridden in things:
        if category not in RIDDEN:
            continue
        reach = cv2.dilate(ridden.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        contacts = [int((reach & person).sum()) for person in people]
        if contacts and max(contacts) >= 30:
            groups.append(ObjectMask.cropped(ridden | people[int(np.argmax(contacts))], "group"))
    return groups
