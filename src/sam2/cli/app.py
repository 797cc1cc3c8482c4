"""The commands of ``sam2``, put together."""

from typing import Annotated

import typer

from sam2.cli.convert import convert
from sam2.cli.data import app as data_app
from sam2.cli.doctor import doctor
from sam2.cli.evaluate import app as evaluate_app
from sam2.cli.image import image
from sam2.cli.models import app as models_app
from sam2.cli.studio import studio
from sam2.cli.train import train
from sam2.cli.video.camera import camera
from sam2.cli.video.command import video

app = typer.Typer(
    name="sam2",
    help="Segment anything that you can point at.",
    epilog="Documentation: docs/cli.md. SAM2_DEBUG=1 shows tracebacks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(image)
app.command()(video)
app.command()(camera)
app.command()(convert)
app.command()(studio)
app.add_typer(models_app, name="models")
app.command()(train)
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="eval")
app.command()(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        from sam2 import __version__

        typer.echo(f"sam2 {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options that come before a command."""
