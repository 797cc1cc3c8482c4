"""``sam2 models``: which weights there are, fetching them, checking them."""

from pathlib import Path
from typing import Annotated

import typer

from sam2.cli.errors import FAILED, SOME_FAILED, describe, say

app = typer.Typer(help="List, download and verify checkpoints.", invoke_without_command=True, no_args_is_help=False)


@app.callback()
def models(context: typer.Context) -> None:
    """List, download and verify checkpoints; without a command, list them."""
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models() -> None:
    """Show every checkpoint known by name, and where it is."""
    from rich.console import Console
    from rich.table import Table

    from sam2.loading.registry import CHECKPOINTS, find_local

    table = Table("name", "size", "where", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for entry in CHECKPOINTS.values():
        local = find_local(entry.name)
        size = entry.size if local is None else local.stat().st_size
        where = "bundled" if entry.url is None and local is not None else str(local or "not here")
        table.add_row(entry.name, "-" if size is None else f"{size / 1e6:.0f} MB", where)
    console = Console(soft_wrap=True)
    console.print(table)
    console.print("Download with 'sam2 models pull NAME'; a model is also downloaded when it is first used.")


@app.command()
def pull(names: Annotated[list[str], typer.Argument(help="Names as 'sam2 models' lists them, or hub ids.")]) -> None:
    """Download checkpoints to the cache. A broken download is continued."""
    from sam2.loading.locate import preset_of
    from sam2.loading.registry import checkpoint, download

    known = [checkpoint(preset_of(name) or name).name for name in names]  # a wrong name stops before a long download
    failed = 0
    for name in known:
        try:
            typer.echo(f"{name}: {download(name)}")
        except OSError as error:
            failed += 1
            say(f"error: {describe(error)}")
    if failed:
        raise typer.Exit(SOME_FAILED if failed < len(known) else FAILED)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A .pt or .safetensors checkpoint.")],
    image: Annotated[
        Path | None,
        typer.Option(help="truck.jpg of the SAM 2 notebooks: compare logits with published ones (SAM 2.1 tiny)."),
    ] = None,
) -> None:
    """Check a checkpoint: its bytes, its names and shapes, and what it computes. Exit status 1 if a check fails."""
    from sam2.loading.verify import verify_checkpoint

    checks = verify_checkpoint(file, image)
    for check in checks:
        state = {True: "ok", False: "FAILED", None: "not checked"}[check.passed]
        typer.echo(f"{check.what:8s} {state:12s} {check.detail}")
    if any(check.passed is False for check in checks):
        raise typer.Exit(SOME_FAILED)
