"""Masks of objects in videos, from their masks on the first frame: the official script's flags, over ``sam2.eval``.

Each video is a folder of frames in ``--base_video_dir``. Its masks are read from the folder of the same name in
``--input_mask_dir`` and written to the one in ``--output_mask_dir``: one label image a frame (DAVIS, MOSE, LVOS,
YouTube-VOS), or with ``--per_obj_png_file`` a folder of binary masks an object (SA-V). Palettes are kept.

``sam2 eval vos --masks FOLDER`` does the same for whole benchmarks, and scores them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sam2.cli.errors import report

if TYPE_CHECKING:  # these import torch, which --help does without
    from sam2.eval.clips import VosClip
    from sam2.sam2_video_predictor import SAM2VideoPredictor


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, named as officially; ``--device`` and ``--dtype`` are additions."""
    parser = argparse.ArgumentParser(description="Track objects from their masks on the first frame.")
    add = parser.add_argument
    add("--sam2_cfg", default="configs/sam2.1/sam2.1_hiera_b+.yaml", help="configuration (default: %(default)s)")
    add(
        "--sam2_checkpoint",
        default="./checkpoints/sam2.1_hiera_base_plus.pt",
        help="weights that fit the configuration (default: %(default)s)",
    )
    add("--base_video_dir", required=True, type=Path, help="folder with a folder of frames a video")
    add("--input_mask_dir", required=True, type=Path, help="folder with a folder of masks (PNG) a video")
    add("--video_list_file", type=Path, help="text file with the names of the videos, one a line; all by default")
    add("--output_mask_dir", required=True, type=Path, help="folder where masks (PNG) are written")
    add("--score_thresh", type=float, default=0.0, help="logits above this are the object (default: %(default)s)")
    add(
        "--use_all_masks",
        action="store_true",
        help="prompt with every mask that is there; by default with those of the first annotated frame",
    )
    add(
        "--per_obj_png_file",
        action="store_true",
        help="masks are VIDEO/OBJECT/FRAME.png, as in SA-V; by default VIDEO/FRAME.png holds all objects, as in DAVIS",
    )
    add("--apply_postprocessing", action="store_true", help="fill holes and the like, as predictors do by default")
    add(
        "--track_object_appearing_later_in_video",
        action="store_true",
        help="prompt every object on the first frame that has a mask of it (LVOS, YouTube-VOS)",
    )
    add("--use_vos_optimized_video_predictor", action="store_true", help="compile the network: faster after a while")
    add("--device", help="cpu, cuda, cuda:1, mps, xpu; the best there is by default")
    add("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: %(default)s)")
    return parser.parse_args(arguments)


def run(asked: argparse.Namespace) -> None:
    """Track all videos.

    Raises:
        FileNotFoundError, ValueError: a folder, a file or a mask is missing or broken, before anything is tracked
            where that shows in the folders.
    """
    from sam2.eval.vos import TrackOptions, track_clip

    clips = open_clips(asked)
    model = load(asked)
    prompts = "all" if asked.use_all_masks else "first"
    if prompts == "first" and asked.track_object_appearing_later_in_video:
        prompts = "appearance"
    options = TrackOptions(prompts=prompts, threshold=asked.score_thresh, masks=asked.output_mask_dir, scored=False)
    for number, clip in enumerate(clips, start=1):
        print(f"{number}/{len(clips)} {clip.name}: {len(clip.stems)} frames", flush=True)
        track_clip(model, clip, options)
    print(f"masks of {len(clips)} videos are in {asked.output_mask_dir}")


def open_clips(asked: argparse.Namespace) -> "list[VosClip]":
    """The videos that ``--video_list_file`` names, or all there are."""
    from sam2.eval.clips import open_clip
    from sam2.eval.layouts import read_sequences

    for flag in ("base_video_dir", "input_mask_dir"):
        if not getattr(asked, flag).is_dir():
            raise FileNotFoundError(f"--{flag} {getattr(asked, flag)}: no such folder")
    names = read_sequences(asked.video_list_file)
    if names is None:
        names = sorted(folder.name for folder in asked.base_video_dir.iterdir() if folder.is_dir())
    if not names:
        raise FileNotFoundError(f"--base_video_dir {asked.base_video_dir} has no folders of frames in it")
    clips = []
    for name in names:
        for folder in (asked.base_video_dir / name, asked.input_mask_dir / name):
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder")
        clip = open_clip(asked.base_video_dir / name, asked.input_mask_dir / name)
        if clip.per_object != asked.per_obj_png_file:
            there = "a folder of masks an object" if clip.per_object else "no folders of masks"
            wanted = "needed" if clip.per_object else "wrong"
            raise ValueError(f"{asked.input_mask_dir / name} has {there}: --per_obj_png_file is {wanted}")
        clips.append(clip)
    return clips


def load(asked: argparse.Namespace) -> "SAM2VideoPredictor":
    """The predictor, with masks that do not overlap where all objects share an image."""
    from sam2.build_sam import build_sam2_video_predictor
    from sam2.loading.devices import resolve_device
    from sam2.utils.allocator import keep_freed_memory

    keep_freed_memory()
    return build_sam2_video_predictor(
        asked.sam2_cfg,
        asked.sam2_checkpoint,
        device=resolve_device(asked.device),
        hydra_overrides_extra=[f"++model.non_overlap_masks={'false' if asked.per_obj_png_file else 'true'}"],
        apply_postprocessing=asked.apply_postprocessing,
        vos_optimized=asked.use_vos_optimized_video_predictor,
        dtype=asked.dtype,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with the flags of the command line; the exit status."""
    asked = parse(arguments)
    try:
        run(asked)
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
