"""What is drawn of scores, by the pixels of the pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2.eval.plots import BLUE, OVER_TIME, plot_vos
from sam2.eval.vos_scores import ClipScore, VosScores


def test_a_clip_with_one_frame_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    short = ClipScore("short", 1, (3,), (0.5,), (0.6,))
    long = ClipScore("long", 1, (1, 2, 3), (0.9, 0.8, 0.8), (0.9, 0.8, 0.8))
    plot_vos(VosScores((short, long)), tmp_path)
    pixels = np.asarray(Image.open(tmp_path / OVER_TIME).convert("RGB"))
    blue = (pixels == [int(BLUE[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)
    below_the_legend = blue[pixels.shape[0] // 8 :]
    rows = np.flatnonzero(below_the_legend.any(1)) + pixels.shape[0] // 8
    assert len(rows), "the first clip's colour is in the legend only"
    assert 0.4 < rows.mean() / pixels.shape[0] < 0.6  # 0.55 lies about the middle
