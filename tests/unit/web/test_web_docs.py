"""The commands of the guide run, in order, as a reader would run them."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sam2.cli.app import app
from sam2.io.video_writer import VideoWriter
from sam2.web import serve as serving

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
ADDRESS = "http://127.0.0.1:7263"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands name, as the working directory."""
    noise = np.random.default_rng(0).integers(90, 120, (12, 240, 320, 3)).astype(np.uint8)
    y, x = np.mgrid[:240, :320]
    with VideoWriter(tmp_path / "clip.mp4", fps=25) as writer:
        for number, frame in enumerate(noise[:6]):
            frame[(x - 160 - number) ** 2 + (y - 120) ** 2 < 40**2] = (210, 40, 30)
            writer.write(frame)
    shutil.copytree(ROOT / "examples" / "photos", tmp_path / "examples" / "photos")
    with Image.open(tmp_path / "examples" / "photos" / "coffee.png") as image:
        image.convert("RGB").save(tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "frames").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_studio_is_started_as_the_guide_says(reader, monkeypatch):
    asked: list[serving.Wanted] = []
    monkeypatch.setattr(serving, "serve", lambda wanted, **_: asked.append(wanted))
    lines = [line.split("#")[0].split() for line in BLOCKS[0].splitlines() if line.startswith("sam2 studio")]
    for line in lines:
        result = CliRunner().invoke(app, line[1:])
        assert result.exit_code == 0, result.output
    assert [wanted.path and wanted.path.name for wanted in asked] == ["clip.mp4", "photos", "frames", None]
    assert [wanted.as_video for wanted in asked] == [False, False, True, False]
    assert "`nano` by default" in PAGE
    assert {wanted.model for wanted in asked} == {"nano"}


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("sh") is None, reason="needs curl and sh")
def test_the_calls_of_the_guide(serve: Any, reader: Path):
    blocks = [block for block in BLOCKS if "curl" in block]
    assert sum(block.count("curl -s") for block in blocks) == PAGE.count("curl -s") >= 10
    with serve(reader / "projects", files=reader / "examples" / "photos") as client:
        answers = [call(client, block) for block in blocks]
    segmented, said, exported, tracked = answers
    assert segmented[0]["masks"][0]["area"] > 1000
    assert (said[0]["name"], said[1]["id"], said[2]["object_id"]) == ("coffee", 1, 1)
    assert said[2]["area"] > 50_000  # the cup and its saucer fill most of the box
    assert exported[0]["kind"] == "export"
    assert exported[1]["job"]["id"] == exported[0]["id"]
    assert exported[2]["state"] in ("done", "paused")
    assert (tracked[0]["num_frames"], tracked[3]["kind"]) == (6, "track")
    assert tracked[2]["area"] > 1000


def call(client: httpx.Client, block: str) -> list[Any]:
    """Run a block in a shell; what its calls answer. Jobs are waited for at its end."""
    script = "set -e\n" + block.replace(ADDRESS, str(client.base_url).rstrip("/")).replace(
        "curl -s", "curl -s -w '\\n'"
    )
    script = script.replace("upload=$(curl -s -w '\\n'", "upload=$(curl -s")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    assert not [answer for answer in answers if "detail" in answer]
    deadline = time.monotonic() + 60
    for project in client.get("/v1/projects").json():
        while (client.get(f"/v1/projects/{project['name']}").json()["job"] or {}).get("state") == "running":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return answers


def test_what_the_guide_says_of_limits_and_files():
    from sam2.io.listed import IMAGE_SUFFIXES
    from sam2.web.exporting.export import KEPT
    from sam2.web.media.kinds import VIDEO_SUFFIXES
    from sam2.web.settings import StudioSettings

    settings = StudioSettings(projects=Path())
    assert f"{settings.upload_limit // 2**30} GiB and {settings.upload_files:,} photos" in PAGE
    assert f"pictures to {settings.image_pixels // 10**6} megapixels" in PAGE
    assert f"{settings.requests_per_second:.0f} times a second" in PAGE
    assert f"for {settings.session_hours:.0f} hours" in PAGE
    assert (KEPT, "the last five" in PAGE) == (5, True)
    for suffix in {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES} - {".jpg", ".tif"}:
        assert suffix[1:].upper() in PAGE.upper(), suffix
