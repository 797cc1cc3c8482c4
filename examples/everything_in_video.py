"""Everything in a video: every object found and followed, drawn into a new video, and as a COCO data set.

python examples/everything_in_video.py CLIP [FOLDER]
"""

import sys
from pathlib import Path

import sam2
from sam2.interop.annotations import VideoInfo
from sam2.interop.formats import open_writers
from sam2.io.frames import open_frames
from sam2.io.video_writer import VideoWriter
from sam2.tracking.annotate import annotate
from sam2.viz import draw_overlay


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    clip, output = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "out")
    output.mkdir(parents=True, exist_ok=True)
    generator = sam2.VideoMaskGenerator(sam2.load("nano"), keyframe_every=15)

    with open_frames(clip) as frames:
        fps = frames.fps or 24.0
        info = VideoInfo(clip.stem, frames.width, frames.height, frames.num_frames, fps)
        annotations = open_writers(["coco"], output)
        with VideoWriter(output / f"{clip.stem}_everything.mp4", fps=fps) as film:
            for result in generator.generate(frames):
                masks = result.masks.cpu().numpy()
                film.write(draw_overlay(frames[result.frame_idx], list(masks), ids=result.obj_ids, dim=0.0))
                annotations.add(annotate(result, info))
                print(f"frame {result.frame_idx}: objects {list(result.obj_ids)}")
        print(f"written: {', '.join(str(path) for path in annotations.close())}")


if __name__ == "__main__":
    main()
