"""Everything in a video: every object found and followed, drawn into a new video, and as a COCO data set."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import sam2
from sam2.interop.annotations import VideoInfo
from sam2.interop.formats import open_writers
from sam2.io.video_writer import VideoWriter
from sam2.tracking.annotate import annotate
from sam2.viz import draw_overlay

# A clip for want of a camera: a window that wanders over a photo.
photo = np.array(Image.open(Path(__file__).parent / "photos" / "coffee.png").convert("RGB"))
clip = [photo[3 * t : 3 * t + 350, 8 * t : 8 * t + 500] for t in range(12)]

model = sam2.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
generator = sam2.VideoMaskGenerator(model, keyframe_every=6, points_per_side=8)
video = VideoInfo("window", width=500, height=350, num_frames=len(clip), fps=12.0)

annotations = open_writers("coco, davis", Path("everything_in_video"))
with VideoWriter("everything_in_video.mp4", fps=12) as film:
    # Objects keep their numbers; new ones come on key frames. Nothing is kept but what the tracker can still read.
    for result in generator.generate(clip):
        drawn = draw_overlay(clip[result.frame_idx], result.masks.cpu().numpy(), ids=result.obj_ids, dim=0.0)
        film.write(drawn)
        annotations.add(annotate(result, video))
        print(f"frame {result.frame_idx}: objects {list(result.obj_ids)}, areas {result.areas.tolist()}")
print(f"written to everything_in_video.mp4, {', '.join(path.as_posix() for path in annotations.close())}")
