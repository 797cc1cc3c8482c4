"""One model, many threads: ``encode`` and ``decode`` keep no state, so a server needs no lock and no copies."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sam2

PHOTOS = Path(__file__).parent / "photos"
CLICKS = {"coffee.png": (280, 150), "chelsea.png": (230, 170), "astronaut.png": (150, 350)}

predictor = sam2.SAM2ImagePredictor(sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano"))


def segment(name: str) -> int:
    """One request: the area of what was clicked on."""
    features = predictor.encode(PHOTOS / name)
    result = predictor.decode(features, points=[CLICKS[name]], labels=[1]).best()
    return int(result.masks().sum())


requests = list(CLICKS) * 4
with ThreadPoolExecutor(max_workers=4) as pool:
    areas = list(pool.map(segment, requests))
for name in CLICKS:
    answers = {area for request, area in zip(requests, areas, strict=True) if request == name}
    print(f"{name}: {answers.pop()} pixels" + (", BUT NOT EVERY TIME" if answers else " in every thread"))
