"""What ``sam2 studio`` refuses before it serves: in one line, with exit code 2."""

from pathlib import Path

import pytest

pytest.importorskip("fastapi")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video"], "--video needs a folder of frames, got nothing"),
        (["PHOTO", "--video"], "--video needs a folder of frames, got "),
        (["nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["PHOTO", "--port", "70000"], "port must be 0 to 65535, got 70000"),
    ],
)
def test_what_cannot_be_served(cli, photo: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    places = [str(photo) if argument == "PHOTO" else argument for argument in arguments]
    outcome = cli("studio", *places, "--no-browser", "--projects", tmp_path / "projects")

    assert outcome.status == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
