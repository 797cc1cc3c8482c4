"""Everything in a photo: masks of all things, drawn, and as a COCO data set that any labelling tool opens.

python examples/everything.py [PHOTO] [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.formats import open_writers
from sam2.viz import draw_overlay


def main() -> None:
    arguments = sys.argv[1:]
    photo = Path(arguments[0]) if arguments else Path(__file__).parent / "photos" / "coffee.png"
    output = Path(arguments[1]) if arguments[1:] else Path("out")

    generator = sam2.SAM2AutomaticMaskGenerator(sam2.load("nano"), points_per_side=16, min_mask_region_area=100)
    masks = generator.propose(photo)
    image = np.array(Image.open(photo).convert("RGB"))
    output.mkdir(parents=True, exist_ok=True)
    drawn = draw_overlay(image, [mask.mask() for mask in masks])
    Image.fromarray(drawn).save(output / f"{photo.stem}_everything.jpg", quality=92)

    objects = [ObjectAnnotation.from_rle(mask.rle, label="thing", score=mask.predicted_iou) for mask in masks]
    writer = open_writers(["coco", "labelme"], output)
    writer.add(AnnotatedImage(photo.name, image.shape[1], image.shape[0], tuple(objects)))
    written = writer.close()

    print(f"{len(masks)} masks: {', '.join(str(path) for path in written)}")


if __name__ == "__main__":
    main()
