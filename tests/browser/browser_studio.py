"""What the browser tests share: a studio that runs, and where things are on its page."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam2.interop.rle import decode_mask

SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
MARGIN = 12
"""CSS pixels around a picture that is fitted."""


@dataclass
class Running:
    """A studio that runs: its process and where it answers."""

    process: "subprocess.Popen[str]"
    address: str

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        self.process.wait(20)

    def ask(self, path: str) -> Any:
        """What a call answers."""
        answer = httpx.get(self.address + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def mask(self, project: str, frame: int) -> npt.NDArray[np.bool_]:
        """The mask of the first object of a frame, as the server has it."""
        objects = self.ask(f"/v1/projects/{project}/frames/{frame}")["objects"]
        return decode_mask(objects[0]["mask"])


Start = Callable[..., Running]


def on_page(page: Any, spot: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Where a spot (x, y) of a picture of ``size`` (width, height) is on the page, while the whole picture is seen."""
    box = page.locator("#stage").bounding_box()
    scale = min((box["width"] - 2 * MARGIN) / size[0], (box["height"] - 2 * MARGIN) / size[1], 40)
    left = box["x"] + (box["width"] - size[0] * scale) / 2
    top = box["y"] + (box["height"] - size[1] * scale) / 2
    return left + spot[0] * scale, top + spot[1] * scale


def shoot(page: Any, name: str) -> npt.NDArray[np.uint8]:
    """Keep a screenshot, and give its pixels [h, w, 3]."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
    return np.asarray(Image.open(SHOTS / f"{name}.png").convert("RGB"))


def settle(page: Any) -> None:
    """Wait until no answer to a click is awaited."""
    page.wait_for_selector("#stage[aria-busy=false]")
    page.wait_for_timeout(150)
