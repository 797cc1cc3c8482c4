"""One click on a photo: three candidate masks, the best one drawn. Then a second click that corrects it."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.viz import DrawnPrompts, draw_overlay

PHOTO = Path(__file__).parent / "photos" / "coffee.png"

model = sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano")  # any name or checkpoint: python click.py FILE
predictor = sam2.SAM2ImagePredictor(model)
image = np.array(Image.open(PHOTO).convert("RGB"))
predictor.set_image(image)

points, labels = np.array([[280, 150]]), np.array([1])  # x, y in pixels; 1: on the object
masks, ious, logits = predictor.predict(points, labels, multimask_output=True)
for mask, iou in zip(masks, ious, strict=True):
    print(f"candidate: {int(mask.sum()):6d} pixels, predicted IoU {iou:.2f}")
best = int(ious.argmax())

# a click beside the object says what does not belong to it; the mask so far goes in as well
points, labels = np.array([[280, 150], [450, 200]]), np.array([1, 0])
masks, ious, _ = predictor.predict(points, labels, mask_input=logits[best : best + 1], multimask_output=False)
print(f"corrected: {int(masks[0].sum()):6d} pixels, predicted IoU {ious[0]:.2f}")

drawn = draw_overlay(image, masks, prompts=[DrawnPrompts(points.tolist(), labels.tolist())])
Image.fromarray(drawn).save("click.png")
