"""How long a click takes in the studio: the decoder alone, on the server, and over HTTP; and their ratios.

``python benchmarks/studio.py`` serves a studio with nano in a temporary folder, clicks on photos of several sizes whose
features are there, corrects frames of a video that was tracked, scrubs in it, and prints medians and 95th percentiles
in milliseconds.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import torch
import uvicorn
from PIL import Image

import sam2
from sam2.io.video_writer import VideoWriter
from sam2.web.app import create_app
from sam2.web.engine.prompts import to_batch
from sam2.web.media.pictures import STRIP, jpeg
from sam2.web.projects.video import VideoProject
from sam2.web.schemas import NewObject, NewProject, Point, Prompts, TrackRequest
from sam2.web.serve import listen
from sam2.web.settings import StudioSettings
from sam2.web.studio import Studio

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "coffee.png"
SIZES = ((600, 400), (1920, 1280), (4000, 3000))


def clicks_on(size: tuple[int, int], count: int) -> list[tuple[float, float]]:
    """Places (x, y) in the middle of a photo of (width, height)."""
    places = np.random.default_rng(0).uniform(0.3, 0.7, (count, 2)) * size
    return [(float(x), float(y)) for x, y in places]


def timed(work: Callable[[float, float], object], places: list[tuple[float, float]]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds; the first two are not counted."""
    times = []
    for x, y in places:
        start = time.perf_counter()
        work(x, y)
        times.append(1000 * (time.perf_counter() - start))
    times = sorted(times[2:])
    return statistics.median(times), times[int(0.95 * len(times))]


def measure(studio: Studio, address: str, size: tuple[int, int], count: int) -> None:
    """Print a line about photos of (width, height)."""
    name = f"photo-{size[0]}"
    assert studio.settings.files is not None
    with Image.open(PHOTO) as photo:
        photo.convert("RGB").resize(size).save(studio.settings.files / f"{name}.jpg")
    project, _ = studio.projects.create(NewProject(path=f"{name}.jpg", name=name))
    project.add_object(NewObject(frame=0))
    encoded, places = project.encoded(0), clicks_on(size, count)

    def said(x: float, y: float) -> Prompts:
        return Prompts(points=(Point(x=x, y=y),))

    def over_http(x: float, y: float) -> None:
        body = json.dumps({"points": [{"x": x, "y": y}]}).encode()
        place = f"{address}/v1/projects/{name}/frames/0/objects/1/prompts"
        request = Request(place, body, {"Content-Type": "application/json"}, method="PUT")
        with urlopen(request) as answer:
            answer.read()

    shape = (size[1], size[0])
    decoder, _ = timed(
        lambda x, y: studio.runner.decode(encoded, to_batch(said(x, y), studio.runner, shape), multimask=True), places
    )
    server, server_late = timed(lambda x, y: project.set_prompts(0, 1, said(x, y)), places)
    http, http_late = timed(over_http, places)
    print(
        f"{size[0]} x {size[1]}: decoder {decoder:.0f} ms; click on the server {server:.0f} ms "
        f"(95 %: {server_late:.0f}), {server / decoder:.1f} times the decoder; "
        f"over HTTP {http:.0f} ms (95 %: {http_late:.0f}), {http / decoder:.1f} times"
    )


def measure_video(studio: Studio, count: int) -> None:
    """Print a line about corrections of frames that were tracked, and one about scrubbing."""
    assert studio.settings.files is not None
    path = studio.settings.files / "clip.mp4"
    with Image.open(PHOTO) as photo:
        picture = np.asarray(photo.convert("RGB").resize((940, 528)))
    with VideoWriter(path, fps=25) as writer:
        for frame in range(count):
            writer.write(np.ascontiguousarray(picture[2 * frame % 48 :][:480, frame % 80 :][:, :854]))
    project, _ = studio.projects.create(NewProject(path=path.name, name="clip"))
    assert isinstance(project, VideoProject)
    project.add_object(NewObject())
    project.set_prompts(0, 1, Prompts(box=(200, 100, 600, 400)))
    studio.jobs.start("clip", "track", lambda job: project.track(TrackRequest(start=0), job))
    while studio.jobs.running("clip"):
        time.sleep(0.1)
    places = clicks_on((854, 480), count - 2)
    frames = iter(range(1, count))

    def correct(x: float, y: float) -> None:
        project.set_prompts(next(frames), 1, Prompts(points=(Point(x=x, y=y),)))

    cold, cold_late = timed(correct, places)
    frames = iter(range(1, count))
    times = []
    for (x, y), frame in zip(places, range(1, count), strict=False):
        project.set_prompts(frame, 1, Prompts())
        project.show(frame)
        time.sleep(0.3)  # someone looks at it
        start = time.perf_counter()
        correct(x, y)
        times.append(1000 * (time.perf_counter() - start))
    shown = statistics.median(times[2:])
    print(
        f"854 x 480 video, a frame that was tracked: correction {shown:.0f} ms when it has been shown, "
        f"{cold:.0f} ms (95 %: {cold_late:.0f}) at once, {cold / shown:.1f} times as long"
    )
    wanted = np.random.default_rng(0).integers(0, count, 20).tolist()
    starts = [time.perf_counter()]
    for frame in wanted:
        jpeg(project.picture(frame), STRIP)
    starts.append(time.perf_counter())
    for frame in wanted:
        assert project.small_picture(frame) is not None
    starts.append(time.perf_counter())
    decoded, kept = (1000 * (after - before) / len(wanted) for before, after in pairwise(starts))
    print(f"a small picture while scrubbing: {kept:.2f} ms from the strip, {decoded:.1f} ms decoded")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, listen("127.0.0.1", 0) as listening:
        files = Path(folder) / "files"
        files.mkdir()
        settings = StudioSettings(projects=Path(folder) / "projects", files=files, requests_per_second=1e6)
        app = create_app(settings, model=sam2.load("nano", dtype=options.dtype))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        print(f"nano, {options.dtype}, {torch.get_num_threads()} threads, {options.clicks} clicks")
        for size in SIZES:
            measure(app.state.studio, f"http://127.0.0.1:{listening.getsockname()[1]}", size, options.clicks)
        measure_video(app.state.studio, options.clicks)
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
