"""The command line. ``sam2 --help`` imports neither torch nor any other heavy package: commands do when they run."""


def main() -> int:
    """Run ``sam2`` on the arguments of the process; the exit status."""
    from sam2.cli.errors import run

    return run()
