"""Several boxes at once: one mask for each, written as COCO annotations."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.interop.rle import encode_mask
from sam2.viz import DrawnPrompts, draw_overlay

PHOTO = Path(__file__).parent / "photos" / "coffee.png"
BOXES = [(75, 15, 485, 390), (165, 15, 405, 320)]  # x0, y0, x1, y1 in pixels: the saucer with all on it, the cup

predictor = sam2.SAM2ImagePredictor(sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano"))
image = np.array(Image.open(PHOTO).convert("RGB"))
features = predictor.encode(image)
result = predictor.decode(features, boxes=BOXES, multimask=False)  # both boxes in one pass
masks = result.masks()[:, 0].cpu().numpy()

annotations = [
    {"id": number, "segmentation": encode_mask(mask), "area": int(mask.sum()), "score": round(float(iou), 3)}
    for number, (mask, iou) in enumerate(zip(masks, result.ious[:, 0], strict=True), start=1)
]
Path("box.json").write_text(json.dumps(annotations, indent=2))
for item in annotations:
    print(f"object {item['id']}: {item['area']} pixels, predicted IoU {item['score']:.2f}")

drawn = draw_overlay(image, masks, prompts=[DrawnPrompts(box=box) for box in BOXES])
Image.fromarray(drawn).save("box.png")
