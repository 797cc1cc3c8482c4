"""``sam2 doctor``: what this machine has, what is missing, and what to do about it."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version

import typer

from sam2.cli.errors import SOME_FAILED

_EXTRA_MARK = "extra == "


def doctor() -> None:
    """Print versions, devices, extras and where weights are kept. Exit status 1 if something needed is missing."""
    from sam2 import __version__

    typer.echo(f"sam2 {__version__}, Python {platform.python_version()}, {platform.platform()}")
    required, extras = _requirements()
    missing = _print_versions("required", required)
    problems = [f"{name} is missing: pip install {name}" for name in missing]
    problems += _print_devices()
    _print_extras(extras)
    problems += _print_weights()
    typer.echo(
        "\n" + ("\n".join(f"PROBLEM: {text}" for text in problems) if problems else "Everything needed is here.")
    )
    if problems:
        raise typer.Exit(SOME_FAILED)


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """The required packages, and those of each extra, as the installed package declares them."""
    try:
        lines = requires("sam2") or []
    except PackageNotFoundError:  # run from a source tree that was not installed
        lines = []
    required: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        requirement, _, condition = line.partition(";")
        name = "".join(c if c.isalnum() or c in "-_." else " " for c in requirement).split()[0]
        if _EXTRA_MARK not in condition:
            required.append(name)
        elif name != "sam2":
            extra = condition.split(_EXTRA_MARK)[1].strip(" '\")")
            extras.setdefault(extra, []).append(name)
    return required or ["torch", "numpy"], extras


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _print_versions(title: str, names: list[str]) -> list[str]:
    found = {name: _installed(name) for name in names}
    typer.echo(f"\n{title}: " + ", ".join(f"{name} {number or 'MISSING'}" for name, number in found.items()))
    return [name for name, number in found.items() if number is None]


def _print_devices() -> list[str]:
    try:
        import torch

        from sam2.loading.devices import has_native_bf16, resolve_device, resolve_dtype
    except ImportError as error:
        return [f"torch cannot be imported: {error}"]
    typer.echo("\ndevices")
    cpu = torch.device("cpu")
    typer.echo(f"  cpu      {os.cpu_count()} cores, {torch.get_num_threads()} threads, {_bf16(has_native_bf16(cpu))}")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", index)
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        name = torch.cuda.get_device_name(index)
        typer.echo(f"  cuda:{index}   {name}, {memory:.0f} GiB, {_bf16(has_native_bf16(device))}")
    if torch.backends.mps.is_available():
        typer.echo("  mps      Apple GPU")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        typer.echo(f"  xpu      {torch.xpu.device_count()} Intel GPU(s)")
    chosen = resolve_device(None)
    dtype = str(resolve_dtype("auto", chosen)).removeprefix("torch.")
    typer.echo(f"  models run on {chosen} in {dtype} unless told otherwise")
    if not torch.cuda.is_available() and sys.platform != "darwin":
        typer.echo("  no CUDA: " + ("torch is a CPU build" if torch.version.cuda is None else "no driver or no GPU"))
    return []


def _bf16(native: bool) -> str:
    return "bfloat16 native" if native else "no native bfloat16"


def _print_extras(extras: dict[str, list[str]]) -> None:
    typer.echo("\nextras")
    for extra, names in sorted(extras.items()):
        if extra in ("all", "dev"):
            continue
        absent = [name for name in names if _installed(name) is None]
        state = f"missing {', '.join(absent)}: pip install 'sam2[{extra}]'" if absent else "installed"
        typer.echo(f"  {extra:12s} {state}")


def _print_weights() -> list[str]:
    try:
        from sam2.loading.registry import CHECKPOINTS, cache_dir, find_local
    except ImportError as error:
        return [f"models cannot be loaded: {error}"]
    here = [name for name in CHECKPOINTS if find_local(name) is not None]
    typer.echo(f"\nweights: {', '.join(here) or 'none'}\ncache: {cache_dir()}")
    return [] if "nano" in here else ["the bundled model nano is missing: reinstall sam2"]
