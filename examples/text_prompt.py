"""Words to masks: a detector finds boxes, each box becomes a mask. Needs the extra 'text', and downloads the detector.

python text_prompt.py [MODEL] ["a cup. a spoon."] [DETECTOR]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.viz import DrawnPrompts, draw_overlay

PHOTO = Path(__file__).parent / "photos" / "coffee.png"
model, words, detector = [*sys.argv[1:], *("nano", "a cup. a spoon.", sam2.text.DEFAULT_MODEL)[len(sys.argv) - 1 :]]

try:
    found = sam2.text.boxes(PHOTO, words, model=detector, threshold=0.25)
except (ImportError, OSError) as error:
    sys.exit(print(f"no detector: {error}"))
for label, score, box in zip(found.labels, found.scores, found.boxes, strict=True):
    print(f"{label}: score {score:.2f}, box {box.round().astype(int).tolist()}")

image = np.array(Image.open(PHOTO).convert("RGB"))
predictor = sam2.SAM2ImagePredictor(sam2.load(model))
predictor.set_image(image)
masks, _, _ = predictor.predict(box=found.boxes, multimask_output=False)
masks = masks.reshape(-1, *image.shape[:2])

drawn = draw_overlay(image, masks, prompts=[DrawnPrompts(box=tuple(box)) for box in found.boxes.tolist()])
Image.fromarray(drawn).save("text_prompt.png")
