"""J and F of predicted masks against true ones: the flags of the official evaluator of SA-V, over ``sam2.eval``.

Both folders hold a folder a video, and in it a folder of masks an object (``VIDEO/000/00000.png``), or label images of
all objects (``VIDEO/00000.png``). Predictions may be of more frames than are annotated. Scores of all objects go to
``results.csv`` in ``--pred_root``.

``sam2 eval vos --predictions FOLDER`` does the same for every benchmark's layout.
"""

import argparse
import csv
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sam2.cli.errors import report, say
from sam2.cli.outputs import write_whole
from sam2.cli.progress import progress

if TYPE_CHECKING:  # these import torch, which --help does without
    from sam2.eval.clips import VosClip
    from sam2.eval.layouts import Counting
    from sam2.eval.vos_scores import ClipResult, ClipScore, VosScores
    from sam2.eval.workers import Tell, Work

RESULTS = "results.csv"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags, named as officially."""
    parser = argparse.ArgumentParser(description="Score predicted masks of videos by J and F.")
    add = parser.add_argument
    add("--gt_root", required=True, type=Path, help="folder with the true masks of every video")
    add("--pred_root", required=True, type=Path, help="folder with the predicted masks of every video")
    add("-n", "--num_processes", type=int, default=16, help="processes to share the work (default: %(default)s)")
    add("-s", "--strict", action="store_true", help="every video of --gt_root must be in --pred_root")
    add("-q", "--quiet", action="store_true", help="print nothing but the means")
    add(
        "--do_not_skip_first_and_last_frame",
        action="store_true",
        help="the first and the last annotated frame count as well; officially they do not",
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True, slots=True)
class Scoring:
    """What a process does with a video; see :func:`sam2.eval.workers.run_items`."""

    predictions: Path
    counting: "Counting"

    def __call__(self, worker: int, workers: int) -> "Work":
        del worker, workers
        return self.score

    def score(self, clip: "VosClip", tell: "Tell") -> "ClipResult":
        """J and F of the objects of a video."""
        from sam2.eval.vos import TrackOptions, score_predictions

        result = score_predictions(clip, self.predictions, TrackOptions(counting=self.counting))
        tell(1)
        return result


def run(asked: argparse.Namespace) -> None:
    """Score all videos, print the means and write the table.

    Raises:
        FileNotFoundError, ValueError: a folder or a mask is missing or broken, or nothing is to be scored.
    """
    from sam2.eval.vos import VosScores
    from sam2.eval.workers import run_items

    clips = open_clips(asked)
    counting = "all" if asked.do_not_skip_first_and_last_frame else "between"
    results: dict[int, ClipResult] = {}
    with progress("videos", len(clips)) as advance:
        scoring = Scoring(asked.pred_root, counting)
        workers = min(asked.num_processes, os.cpu_count() or 1)  # more than cores would only take memory
        results.update(run_items(scoring, clips, workers=workers, tell=advance))
    scores = VosScores(tuple(item for place in sorted(results) for item in results[place].objects))
    if not scores.objects:
        raise ValueError(f"--gt_root {asked.gt_root}: no object has an annotated frame that counts")
    write_whole(asked.pred_root / RESULTS, table(scores).encode())
    if not asked.quiet:
        print(table(scores).replace(",", "\t"), end="")
        print(f"written to {asked.pred_root / RESULTS}")
    print(f"J&F {100 * scores.j_and_f:.1f}, J {100 * scores.j:.1f}, F {100 * scores.f:.1f}")


def open_clips(asked: argparse.Namespace) -> "list[VosClip]":
    """The videos of ``--gt_root`` that are in ``--pred_root``, which are all with ``--strict``."""
    from sam2.eval.clips import open_clip

    for flag in ("gt_root", "pred_root"):
        if not getattr(asked, flag).is_dir():
            raise FileNotFoundError(f"--{flag} {getattr(asked, flag)}: no such folder")
    names = sorted(path.name for path in asked.gt_root.iterdir() if path.is_dir() and path.name[0] != ".")
    missing = [name for name in names if not (asked.pred_root / name).is_dir()]
    if missing and asked.strict:
        raise ValueError(f"--strict: {len(missing)} of {len(names)} videos have no predictions, such as {missing[0]}")
    if len(missing) == len(names):
        raise FileNotFoundError(f"--pred_root {asked.pred_root} has none of the {len(names)} videos in {asked.gt_root}")
    if missing:
        say(f"{len(missing)} of {len(names)} videos have no predictions and are left out: {', '.join(missing[:5])}")
    return [open_clip(None, asked.gt_root / name) for name in names if name not in missing]


def table(scores: "VosScores") -> str:
    """CSV of percents: the means over all objects, then an object a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", "obj", "J&F", "J", "F"])
    writer.writerow(["Global score", "", *_percents(scores)])
    for item in scores.objects:
        writer.writerow([item.clip, f"{item.obj_id:03d}", *_percents(item)])
    return text.getvalue()


def _percents(score: "VosScores | ClipScore") -> list[str]:
    return [f"{100 * value:.1f}" for value in (score.j_and_f, score.j, score.f)]


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
