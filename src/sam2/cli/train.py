"""``sam2 train``: the options, checked before anything heavy is imported."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.errors import Interrupted, say
from sam2.cli.training import CONFIG, Asked, is_main_process

Recipe = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe (tiny_image, large_video, nano_mixed, ...) or a YAML file; by model and data if left out.",
        show_default=False,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="PATH", help="A data set to train on: a folder or a file of annotations."),
]
Validation = Annotated[
    list[str] | None,
    typer.Option("--val", metavar="PATH", help="A data set to validate on; a tenth of --data by default."),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="What the data sets are; told by their files by default.")
]
Split = Annotated[
    str | None, typer.Option("--split", metavar="NAME", help="Which part of --data, where there are several, or all.")
]
ValidationSplit = Annotated[
    str | None, typer.Option("--val-split", metavar="NAME", help="Which part of --val, or of --data without --val.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="NAME", help="What to start from: nano, a name from 'sam2 models', or a checkpoint."
    ),
]
ImageSize = Annotated[int | None, typer.Option("--image-size", metavar="PIXELS", help="Side of the model's input.")]
Frames = Annotated[int | None, typer.Option("--frames", metavar="N", help="Frames of a clip.")]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", help="Steps of the optimizer.")]
Epochs = Annotated[float | None, typer.Option("--epochs", metavar="N", help="Passes over the data, in place of steps.")]
Batch = Annotated[int | None, typer.Option("--batch", metavar="N", help="Clips, or stills, of a step and process.")]
Accumulate = Annotated[
    int | None, typer.Option("--accumulate", metavar="N", help="Batches whose gradients a step averages.")
]
Rate = Annotated[
    float | None, typer.Option("--learning-rate", metavar="RATE", help="Of all that is trained but the image encoder.")
]
Lora = Annotated[
    int | None, typer.Option("--lora", metavar="RANK", help="Train adapters of this rank in place of the weights.")
]
Freeze = Annotated[
    list[str] | None,
    typer.Option("--freeze", metavar="PATTERN", help="Do not train these, as in 'image_encoder.*'."),
]
Precision = Annotated[str | None, typer.Option("--precision", metavar="KIND", help="auto, bf16, fp16 or no (float32).")]
Device = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="auto (the accelerator there is) or cpu.")
]
Processes = Annotated[
    int,
    typer.Option("--processes", metavar="N", min=1, help="Train with N processes of this machine: one a GPU or core."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option, as in optim.layer_decay=0.8."),
]
Official = Annotated[
    Path | None,
    typer.Option("--from-official-yaml", metavar="FILE", help="Translate a training YAML of the official code."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training in the output folder.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the configuration, parameters and data, and train nothing.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="RUN", help="The folder of the training; with NAME.yaml only the configuration."
    ),
]


def train(
    context: typer.Context,
    recipe: Recipe = None,
    data: Data = None,
    validation: Validation = None,
    format: Format = None,
    split: Split = None,
    validation_split: ValidationSplit = None,
    model: Model = None,
    image_size: ImageSize = None,
    frames: Frames = None,
    steps: Steps = None,
    epochs: Epochs = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    lora: Lora = None,
    freeze: Freeze = None,
    precision: Precision = None,
    device: Device = None,
    processes: Processes = 1,
    settings: Settings = None,
    official: Official = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    output: Output = None,
) -> None:
    """Train or fine-tune a model on images, videos or both.

    'sam2 train --data cells/ -o run/' fine-tunes the bundled model; 'run/best.pt' is then a --model for every command.
    Ctrl-C saves what is done. docs/training.md lists recipes and options. Several machines: 'accelerate launch --module
    sam2 train ...'.
    """
    asked = Asked.of(context.params)
    asked.check(dry_run=dry_run)
    writes_only = output is not None and output.suffix in (".yaml", ".yml")
    if not dry_run and not writes_only and find_spec("accelerate") is None:
        raise ImportError('training needs the extra "train": pip install "sam2[train]"')

    from sam2.cli.training import assemble, report

    config = assemble(asked)
    if dry_run:
        report(config)
    elif writes_only:
        _write(config, output)
    elif processes > 1:
        _train_together(config, output, processes, resume=resume)
    else:
        _train(config, output, resume=resume)


def _write(config: object, output: Path | None) -> None:
    from sam2.train.config import write_config

    assert output is not None
    write_config(config, output)  # type: ignore[arg-type]  # its type is imported late
    typer.echo(str(output))


def _train_together(config: object, output: Path | None, processes: int, *, resume: bool) -> None:
    """The same in processes of their own, which read the configuration where a training keeps it."""
    from sam2.train.config import write_config
    from sam2.train.launch import run_together
    from sam2.train.setup import check_folder

    assert output is not None
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("--processes: a launcher has started several already, leave it out")
    check_folder(output, resume=resume)
    write_config(config, output / CONFIG)  # type: ignore[arg-type]  # its type is imported late
    status = run_together([sys.executable, "-m", "sam2", "train", "--resume", "--output", str(output)], processes)
    if status:
        raise SystemExit(status)  # they have said why


def _train(config: object, output: Path | None, *, resume: bool) -> None:
    from sam2.train.progress import shown_progress
    from sam2.train.trainer import train as run_training

    assert output is not None
    with shown_progress() as progress:
        result = run_training(config, output, resume=resume, progress=progress)  # type: ignore[arg-type]
    if not is_main_process():
        return
    if result.stopped:
        done = f"stopped after step {result.step} of {result.total}, kept in {output}"
        raise Interrupted(f"{done}; 'sam2 train --resume -o {output}' goes on")
    best = result.checkpoint if result.best is None else result.best
    score = "" if result.best_score is None else f", score {result.best_score:.4f}"
    say(f"{result.step} steps in {result.elapsed:.0f} s{score}: results in {output}")
    typer.echo(str(best))
