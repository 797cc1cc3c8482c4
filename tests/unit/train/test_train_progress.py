"""What a training shows while it runs."""

import io
import sys

import pytest

from sam2.train.progress import shown_progress

LINE = {"loss": 0.5, "last_iou": 0.75}
VALIDATION = {"event": "validation", "score": 0.875}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown() -> None:
    with shown_progress() as progress:
        progress(1, 2, {"loss": None})
        progress(1, 2, VALIDATION)
        progress(2, 2, {})
        progress(2, 2, LINE)


def test_elsewhere_there_are_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown()
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "step 1/2  loss None",
        "step 1/2  event validation  score 0.875",
        "step 2/2  loss 0.5  last_iou 0.75",
    ]


@pytest.mark.parametrize(("rank", "drawn"), [("0", True), ("1", False)])
def test_a_terminal_gets_a_bar_of_the_main_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, drawn: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("TERM", "xterm")
    shown()
    assert ("event validation  score 0.875" in terminal.getvalue()) == drawn
    assert ("loss 0.500" in terminal.getvalue()) == drawn
    assert ("loss 0.5 " in capsys.readouterr().out) != drawn
