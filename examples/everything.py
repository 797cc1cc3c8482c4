"""Everything in a photo: masks of all things, drawn, and as a COCO data set that any labelling tool opens."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.formats import open_writers
from sam2.viz import draw_overlay

PHOTO = Path(__file__).parent / "photos" / "coffee.png"

model = sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
generator = sam2.SAM2AutomaticMaskGenerator(model, points_per_side=12, min_mask_region_area=100)
masks = generator.propose(PHOTO)
for mask in masks:
    print(f"{mask.area} pixels around {mask.point}, predicted IoU {mask.predicted_iou:.2f}")

image = np.array(Image.open(PHOTO).convert("RGB"))
Image.fromarray(draw_overlay(image, [mask.mask() for mask in masks])).save("everything.jpg", quality=92)

height, width = image.shape[:2]
objects = [ObjectAnnotation.from_rle(mask.rle, label="thing", score=mask.predicted_iou) for mask in masks]
writer = open_writers("coco, labelme", Path("everything"), labels=["thing"])
writer.add(AnnotatedImage(PHOTO.name, width, height, tuple(objects)))
print(f"written to everything.jpg, {', '.join(path.as_posix() for path in writer.close())}")
