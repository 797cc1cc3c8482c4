"""Everything in an image of 8192 x 8192 pixels on a sparse grid of clicks: how much memory that takes.

    python benchmarks/large_image.py [--side 8192] [--points-per-side 8] [--model nano] [--json FILE]

Claim: at most 3 GB beyond what is resident once model and image are there. Thresholds are off, so that no mask is
dropped early: 8 x 8 clicks give 192 masks.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measure import Report, peak_megabytes, resident_megabytes
from PIL import Image

import sam2
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "coffee.png"


def make_image(side: int) -> np.ndarray:
    """A photo, enlarged to ``side`` x ``side``."""
    return np.array(Image.open(PHOTO).convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def main() -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--model", default="nano", help="anything that sam2.load takes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    side, clicks = arguments.side, arguments.points_per_side
    report = Report(f"{arguments.model}: everything in {side} x {side}, {clicks} x {clicks} clicks")
    generator = SAM2AutomaticMaskGenerator(
        sam2.load(arguments.model, device="cpu"),
        clicks,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        box_nms_thresh=1.0,
    )
    generator.propose(make_image(512))
    image = make_image(side)
    before, start = resident_megabytes(), time.perf_counter()
    proposals = generator.propose(image)
    seconds = time.perf_counter() - start
    peak = peak_megabytes()
    report.figure("masks", len(proposals), f"{len(proposals):9d}")
    report.figure("time", seconds, f"{seconds:9.1f} s")
    report.figure("resident before", before, f"{before:9.0f} MB (of which the image {image.nbytes / 2**20:.0f} MB)")
    report.figure("peak", peak, f"{peak:9.0f} MB")
    report.claim("peak beyond model and image, GB", (peak - before) / 1024, below=3.0)
    return report.finish(arguments.json)


if __name__ == "__main__":
    sys.exit(main())
