"""Miniature training sets in the layouts of the real ones, and a small model to train on them."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2.modeling.config import DecoderConfig, EfficientNetLiteConfig, MemoryConfig, ModelConfig
from sam2.train.nano.data.records import ImageRecord, ObjectMask

HEIGHT, WIDTH = 72, 96

SMALL = ModelConfig(
    name="small nano",
    version="nano",
    trunk=EfficientNetLiteConfig(width=0.25, depth=0.3),
    image_size=256,
    d_model=32,
    fpn_top_down_levels=(0, 1, 2, 3),
    decoder=DecoderConfig(mlp_dim=32, prompt_maps=True, fusion_layers=1, smooth_upscaling=True),
    memory=MemoryConfig(dim=8, num_layers=1, dim_feedforward=32),
)


def disc(x: float, y: float, radius: float, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def photo(seed: int, objects: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """[72, 96, 3] RGB: noise, and red where ``objects``."""
    image = np.random.default_rng(seed).integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if objects is not None:
        image[objects] = (220, 40, 30)
    return image


def write(path: Path, image: NDArray) -> Path:
    """``image`` (RGB or one channel) as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


def write_panoptic(root: Path) -> dict[str, NDArray[np.bool_]]:
    """A person on a bicycle, a crowd, sky in two pieces (one tiny) and grass; returns the masks by name."""
    person, bicycle = disc(40, 30, 12), disc(40, 48, 10) & ~disc(40, 30, 12)
    sky = np.zeros((HEIGHT, WIDTH), bool)
    sky[:10] = True
    sky[20:22, 90:92] = True
    crowd = disc(80, 55, 9)
    segments = {1: (person, 1), 300: (bicycle, 2), 70000: (sky, 187), 5: (crowd, 1)}
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    for number, (mask, _) in segments.items():
        ids[mask] = number
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    annotations = root / "panoptic_segmentation" / "annotations"
    write(annotations / "panoptic_val2017" / "000001.png", colours)
    write(root / "images" / "val2017" / "000001.jpg", photo(0, person))
    listing = {
        "categories": [{"id": 1, "isthing": 1}, {"id": 2, "isthing": 1}, {"id": 187, "isthing": 0}],
        "annotations": [
            {
                "file_name": "000001.png",
                "segments_info": [
                    {"id": number, "category_id": category, "iscrowd": int(number == 5)}
                    for number, (_, category) in segments.items()
                ],
            },
            {"file_name": "not_there.png", "segments_info": []},
        ],
    }
    (annotations / "panoptic_val2017.json").write_text(json.dumps(listing))
    return {"person": person, "bicycle": bicycle, "sky": sky}


def write_instances(root: Path) -> None:
    """A rectangle as polygon, an L of two polygons, one as run lengths, and a crowd."""
    square = [10.0, 20.0, 40.0, 20.0, 40.0, 50.0, 10.0, 50.0]
    second = [[50.0, 10.0, 60.0, 10.0, 60.0, 40.0, 50.0, 40.0], [60.0, 30.0, 80.0, 30.0, 80.0, 40.0, 60.0, 40.0]]
    column = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * 3, HEIGHT * (WIDTH - 3)]}
    annotations = [
        {"image_id": 7, "category_id": 17, "iscrowd": 0, "segmentation": [square]},
        {"image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": second},
        {"image_id": 7, "category_id": 18, "iscrowd": 0, "segmentation": column},
        {"image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": column},
    ]
    images = [
        {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 8, "file_name": "b.jpg", "height": HEIGHT, "width": WIDTH},
    ]
    for number, image in enumerate(images):
        write(root / "images" / image["file_name"], photo(number))
    (root / "instances_train2017.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def write_clothes(root: Path) -> None:
    """A coat above trousers with a line of one unlabelled pixel between them."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[10:30, 30:60] = 4
    labels[31:60, 35:55] = 9
    write(root / "labels" / "0001.png", labels)
    write(root / "images" / "0001.jpg", photo(3, labels > 0))


def write_all(root: Path) -> Path:
    """All four sets below ``root``."""
    write_panoptic(root / "coco128_pan")
    write_instances(root / "coco128_instances")
    write_clothes(root / "ccp")
    write(root / "photos" / "coats" / "p.jpg", photo(4))
    return root


def records(folder: Path, count: int = 14) -> list[ImageRecord]:
    """``count`` photos with a whole disc, a thing at the border and sky; one has none. Some are held out."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        whole, cut = disc(*rng.uniform(28, 44, 2), 16), disc(WIDTH - 2, 30, 14)
        path = write(folder / f"{number:03d}.png", photo(number, whole | cut))
        sky = np.zeros((HEIGHT, WIDTH), bool)
        sky[:8] = True
        objects = [ObjectMask.cropped(whole, "thing"), ObjectMask.cropped(cut, "thing")]
        objects.append(ObjectMask.cropped(sky, "stuff"))
        made.append(ImageRecord(path, "photos" if number == 0 else "coco128_pan", [] if number == 0 else objects))
    return made
