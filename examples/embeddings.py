"""Encode once, keep the features in a file, segment later: the slow half of the work is done only once."""

import sys
import time
from pathlib import Path

import numpy as np

import sam2

PHOTO = Path(__file__).parent / "photos" / "chelsea.png"
FILE = Path("chelsea.features.safetensors")

model = sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
predictor = sam2.SAM2ImagePredictor(model)
start = time.perf_counter()
predictor.set_image(PHOTO)
print(f"encoded in {1000 * (time.perf_counter() - start):.0f} ms")
predictor.save_image_features(FILE)
before, _, _ = predictor.predict(box=np.array([10, 5, 445, 299]), multimask_output=False)

# some other day, some other process
later = sam2.SAM2ImagePredictor(model)
start = time.perf_counter()
later.load_image_features(FILE)  # refuses features of other weights
print(f"loaded {FILE.stat().st_size / 1e6:.1f} MB in {1000 * (time.perf_counter() - start):.0f} ms")
after, _, _ = later.predict(box=np.array([10, 5, 445, 299]), multimask_output=False)
print("masks are equal:", bool((before == after).all()))
