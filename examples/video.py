"""A cup followed through a clip: a box at its first frame, a correction on the way, an overlay as an mp4."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.io.video_writer import VideoWriter
from sam2.viz import DrawnPrompts, draw_overlay

# A clip for want of a camera: a window that wanders over a photo.
photo = np.array(Image.open(Path(__file__).parent / "photos" / "coffee.png").convert("RGB"))
clip = [photo[3 * t : 3 * t + 350, 8 * t : 8 * t + 500] for t in range(12)]
BOX = (165, 15, 405, 320)  # the cup on frame 0: x0, y0, x1, y1 in pixels

session = sam2.VideoSession(sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano"), clip)
first = session.add_points(0, 1, box=BOX)
print(f"frame 0: {int(first.areas[0])} pixels, predicted IoU {float(first.ious[0]):.2f}")

# Frames come as they are tracked; nothing is kept but what the model can still read.
for result in session.propagate(num_frames=7):
    print(f"frame {result.frame_idx}: {int(result.areas[0])} pixels, object score {float(result.object_scores[0]):.1f}")

# A click on what was found corrects it, and what follows. Here: the middle of the cup belongs to it.
click = (285 - 8 * 6, 170 - 3 * 6)
session.add_points(6, 1, points=[click], labels=[1])

said = {0: DrawnPrompts(box=BOX), 6: DrawnPrompts(points=[click], labels=[1])}
with VideoWriter("video.mp4", fps=12) as writer:
    for result in session.propagate(start=0):
        prompts = [said.get(result.frame_idx, DrawnPrompts())]
        writer.write(draw_overlay(clip[result.frame_idx], result.masks.cpu().numpy(), prompts=prompts, dim=0))
print(f"written to video.mp4: {writer.num_frames} frames")
