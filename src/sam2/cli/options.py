"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where results go.")]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME", help="nano (bundled), a name from 'sam2 models', or a checkpoint."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1, mps, xpu; the best there is by default."),
]
Dtype = Annotated[
    str,
    typer.Option("--dtype", metavar="TYPE", help="auto, float32, bfloat16 or float16; auto is the fastest safe one."),
]
