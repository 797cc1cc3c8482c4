"""The one place where the command line meets errors: one line on stderr and an exit status, never a traceback.

Exit status 0: done; 1: some of the inputs failed; 2: wrong usage, or it could not be done; 130: Ctrl-C.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

DONE, SOME_FAILED, FAILED, INTERRUPTED = 0, 1, 2, 130

DEBUG_VARIABLE = "SAM2_DEBUG"
"""Set to 1, tracebacks are shown as well."""

_EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError)
# Raised by packages that are only imported when needed, hence known by name.
_EXPECTED_NAMES = {"SafetensorError", "OutOfMemoryError", "UnidentifiedImageError", "UnpicklingError"}


class Interrupted(Exception):
    """Ctrl-C was heeded in good order; the message says what was kept."""


class OutputError(OSError):
    """Results cannot be written: no other input would fare better, so the command stops."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on ``arguments`` (``sys.argv[1:]`` by default) and report what goes wrong."""
    previous = warnings.showwarning
    warnings.showwarning = _show_warning
    try:
        from typer.main import get_command

        from sam2.cli.app import app

        result = get_command(app).main(arguments, prog_name="sam2", standalone_mode=False)
        # typer turns Ctrl-C into this status where it does not let it through
        return report(KeyboardInterrupt()) if result == INTERRUPTED else int(result or DONE)
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
    finally:
        warnings.showwarning = previous


def report(error: BaseException) -> int:
    """Say on stderr what happened and return the exit status for it."""
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, Interrupted):
        say(str(error))
        return INTERRUPTED
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    if is_expected(error):
        say(f"error: {describe(error)}")
    else:
        say(f"internal error: {type(error).__name__}: {describe(error)} ({DEBUG_VARIABLE}=1 shows where)")
    return FAILED


def is_expected(error: BaseException) -> bool:
    """Whether the user, the input or the machine is at fault rather than the program."""
    return isinstance(error, _EXPECTED) or _is_usage(error) or type(error).__name__ in _EXPECTED_NAMES


def describe(error: BaseException) -> str:
    """The error in one line."""
    if _is_usage(error):
        text = f"{error.format_message()} {_help_hint(error)}"  # type: ignore[attr-defined]
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        text = f"out of memory: try --device cpu, --dtype bfloat16 or a smaller --model ({error})"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def say(message: str) -> None:
    """One line on stderr."""
    print(f"sam2: {message}", file=sys.stderr, flush=True)


def _is_usage(error: BaseException) -> bool:
    """Whether the option parser raised it. By its methods: typer carries the parser under different names."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _help_hint(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    return f"(see '{context.command_path} --help')" if context is not None else ""


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Warnings as one line too; those meant for developers stay silent."""
    if not issubclass(category, DeprecationWarning | PendingDeprecationWarning | ResourceWarning):
        say(f"warning: {' '.join(str(message).split())}")
