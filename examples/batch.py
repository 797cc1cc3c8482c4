"""Photos of different sizes in one batch, with different prompts: one pass to encode them, few to decode."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.image import Prompts
from sam2.viz import contact_sheet, draw_overlay

PHOTOS = Path(__file__).parent / "photos"
NAMES = ("coffee.png", "chelsea.png", "astronaut.png")

predictor = sam2.SAM2ImagePredictor(sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano"))
images = tuple(np.array(Image.open(PHOTOS / name).convert("RGB")) for name in NAMES)
features = predictor.encode(images)

prompts = [
    Prompts(boxes=(75, 15, 485, 390), image=0),
    Prompts(points=[(230, 170), (425, 190)], labels=[1, 0], image=1),
    Prompts(boxes=(10, 5, 390, 511), image=2),
    Prompts(boxes=(10, 5, 400, 299), image=1),
]
results = predictor.decode_batch(features, prompts, multimask=False)

drawn, captions = [], []
for prompt, result in zip(prompts, results, strict=True):
    drawn.append(draw_overlay(images[prompt.image], result.masks()[0].cpu().numpy()))
    captions.append(f"photo {prompt.image}, predicted IoU {float(result.ious):.2f}")
    print(captions[-1])
Image.fromarray(contact_sheet(drawn, captions=captions)).save("batch.png")
