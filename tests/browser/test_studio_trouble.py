"""When things go wrong, and what the page looks like: crashes, refusals, scrubbing, both themes, a phone."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_studio import Start, on_page, settle, shoot
from PIL import Image

from sam2.interop.rle import decode_mask
from sam2.io.video_writer import VideoWriter

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SIZE = (320, 240)
FRAMES = 36
CONTRAST = """() => {
    const parse = (text) => {
        const [r, g, b, a = 1] = (text.match(/[\\d.]+/g) ?? ["0", "0", "0", "0"]).map(Number);
        return text.startsWith("color(srgb") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
    };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
    const ground = (one) => {
        const layers = [];
        for (let at = one; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
        return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = [];
    for (const one of document.querySelectorAll("button, label, output, h1, h2, p, small, dt, dd, .toast, input")) {
        const text = one.tagName === "INPUT" ? one.value : [...one.childNodes].map((n) => n.nodeValue ?? "").join("");
        if (!text.trim() || !one.checkVisibility() || one.disabled) continue;
        if (one.type === "range" || one.id === "status") continue;
        const back = ground(one);
        const [x, y] = [light(over(parse(getComputedStyle(one).color), back)), light(back)];
        const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
        if (ratio < 4.5) faint.push(`${text.trim()}: ${ratio.toFixed(2)}`);
    }
    return faint;
}"""


def picture(frame: int) -> np.ndarray:
    """An orange disc that goes right, on a ground that says by its brightness which frame it is."""
    image = np.random.default_rng(0).integers(0, 12, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    image += np.uint8(20 + 2 * frame)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    image[(columns - 100 - frame) ** 2 + (rows - 120) ** 2 < 45**2] = (230, 130, 40)
    return image


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "clip.mp4", fps=10) as writer:
        for frame in range(FRAMES):
            writer.write(picture(frame))
    return tmp_path / "clip.mp4"


def shown(page: Any, frame: int) -> None:
    page.wait_for_selector(f"#stage[aria-label^='Frame {frame + 1} of']")


def test_a_crash_in_the_middle_of_tracking_loses_nothing(start: Start, page: Any, clip: Path) -> None:
    studio = start(clip)
    page.goto(f"{studio.address}/#project=clip")
    shown(page, 0)
    page.wait_for_timeout(300)
    page.mouse.click(*on_page(page, (100, 120), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    page.get_by_role("button", name="Track forward").click()
    page.get_by_text("Tracking: ").wait_for()
    until(lambda: int((re.search(r"Frame (\d+)", page.locator("#stage").get_attribute("aria-label")) or [0, 0])[1]) > 6)
    seen = int(re.search(r"Frame (\d+)", page.locator("#stage").get_attribute("aria-label"))[1]) - 2
    before = {frame: studio.mask("clip", frame) for frame in range(seen)}
    studio.kill()
    page.mouse.click(*on_page(page, (20, 20), SIZE))
    page.locator(".toast", has_text="does not answer").wait_for()
    shoot(page, "video-server-gone")

    again = start(clip, port=int(studio.address.rsplit(":", 1)[1]))
    assert again.address == studio.address
    page.get_by_role("button", name="Track forward").wait_for()  # it has connected again, and knows that nothing runs
    page.mouse.click(*on_page(page, (20, 20), SIZE), button="right")
    settle(page)
    page.keyboard.press("Control+z")
    page.wait_for_selector("#redo:not([disabled])")
    page.reload()
    page.wait_for_selector("#stage[aria-label*='masks of object 1']")
    for frame, mask in before.items():
        np.testing.assert_array_equal(again.mask("clip", frame), mask)
    page.get_by_role("slider", name="Frame").fill(str(seen - 1))
    shown(page, seen - 1)
    page.get_by_role("button", name="Track forward").click()
    page.get_by_text("Tracking: ").wait_for()
    page.get_by_role("button", name="Track forward").wait_for(timeout=60_000)
    shown(page, FRAMES - 1)
    masks = [again.mask("clip", frame) for frame in range(FRAMES)]
    assert all((mask == before[frame]).all() for frame, mask in enumerate(masks[: seen - 1]))
    for frame in (seen, FRAMES // 2, FRAMES - 1):
        disc = (picture(frame)[..., 0] > 200) & (picture(frame)[..., 2] < 100)
        assert (masks[frame] & disc).sum() / (masks[frame] | disc).sum() > 0.7


def test_scrubbing_shows_the_frame_and_its_mask(start: Start, page: Any, clip: Path) -> None:
    studio = start(clip)
    page.goto(f"{studio.address}/#project=clip")
    shown(page, 0)
    page.wait_for_timeout(300)
    page.mouse.click(*on_page(page, (100, 120), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    page.get_by_role("button", name="Track forward").click()
    page.get_by_text("Tracking: ").wait_for()
    page.get_by_role("button", name="Track forward").wait_for(timeout=60_000)

    page.get_by_role("slider", name="Frame").click()
    page.keyboard.press("b")  # keys are those of the page, but for arrows
    page.wait_for_selector("#tools button[aria-pressed=true]:has-text('Brush')")
    page.keyboard.press("c")
    box = page.locator("#timeline canvas").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 5)
    page.mouse.down()
    for frame in (3, 20, 33, 12):
        page.mouse.move(box["x"] + (frame + 0.5) / FRAMES * box["width"], box["y"] + 5)
        shown(page, frame)
        page.wait_for_selector("#stage[aria-label*='masks of object 1']")
        page.wait_for_timeout(500)  # the sharp one has come
        pixels = shoot(page, f"scrubbed-{frame}").astype(int)

        def at(x: float, y: float, pixels: np.ndarray = pixels) -> np.ndarray:
            column, row = (int(value) for value in on_page(page, (x, y), SIZE))
            return pixels[row - 3 : row + 4, column - 3 : column + 4].mean((0, 1))

        assert at(30, 30).mean() == pytest.approx(20 + 2 * frame + 6, abs=5)
        for x, tinted in ((100 + frame, True), (100 + frame - 52, False), (100 + frame + 52, False)):
            change = np.abs(at(x, 120) - ((230, 130, 40) if tinted else 3 * [20 + 2 * frame + 6])).sum()
            assert (change > 40) == tinted, "the mask is that of the frame"
    page.mouse.up()


def test_what_is_refused_is_said_in_a_sentence(start: Start, page: Any, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:400])
    (tmp_path / "fake.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    studio = start(tmp_path / "folder")
    page.goto(studio.address)
    told: list[str] = []
    for name in ("notes.txt", "cut.mp4", "fake.png"):
        page.get_by_label("Files").set_input_files(tmp_path / name)
        count = len(told)
        until(lambda count=count: page.locator(".toast.error").count() > count)
        told.append(page.locator(".toast.error").last.inner_text())
    for said in told:
        assert len(said) > 15
        assert "Traceback" not in said
        assert str(tmp_path) not in said
    assert studio.ask("/v1/projects") == []
    Image.fromarray(picture(3)).save(tmp_path / "fine.png")
    page.get_by_label("Files").set_input_files(tmp_path / "fine.png")
    page.wait_for_selector("#stage[aria-label^=Photo]")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_texts_can_be_read_in_both_themes(start: Start, new_page: Any, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "folder").mkdir()
    Image.fromarray(picture(3)).save(tmp_path / "folder" / "one.png")
    Image.fromarray(picture(9)).save(tmp_path / "folder" / "two.png")
    page = new_page(color_scheme=scheme)
    studio = start(tmp_path / "folder")
    page.goto(studio.address)
    page.get_by_role("dialog", name="Open").wait_for()
    page.get_by_text("Open all 2 photos").wait_for()
    shoot(page, f"open-{scheme}")
    assert page.evaluate(CONTRAST) == []
    page.get_by_text("Open all 2 photos").click()
    page.wait_for_selector("#stage[aria-label^=Photo]")
    page.wait_for_timeout(300)
    page.mouse.click(*on_page(page, (100, 120), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    ground = shoot(page, f"photo-{scheme}")[2:6, 2:6].mean()
    assert (ground < 80) == (scheme == "dark")
    assert page.evaluate(CONTRAST) == []
    for name in ("Export", "Help"):
        page.get_by_role("button", name=name).click()
        page.get_by_role("dialog", name=name).wait_for()
        page.wait_for_timeout(200)
        shoot(page, f"{name.lower()}-{scheme}")
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("Escape")


def test_a_phone_shows_a_video_with_all_that_is_needed(start: Start, new_page: Any, clip: Path) -> None:
    page = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    studio = start(clip)
    page.goto(f"{studio.address}/#project=clip")
    shown(page, 0)
    page.wait_for_timeout(300)
    page.touchscreen.tap(*on_page(page, (100, 120), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    page.get_by_role("button", name="Track forward").tap()
    page.get_by_text("Tracking: ").wait_for()
    page.get_by_role("button", name="Pause").tap()
    page.get_by_role("button", name="Track forward").wait_for()
    shoot(page, "phone-video")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert decode_mask(studio.ask("/v1/projects/clip/frames/0")["objects"][0]["mask"])[120, 100]
    names = ("Undo", "Export", "Track forward", "Track backward", "Click", "Box", "Brush", "Select", "Remove", "Fit")
    for name in names:
        spot = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert spot["x"] >= 0
        assert spot["x"] + spot["width"] <= 390
        assert spot["height"] >= 40

    page.get_by_role("button", name="Track forward").tap()
    page.get_by_text("Tracking: ").wait_for()
    page.wait_for_timeout(500)
    page.touchscreen.tap(*on_page(page, (110, 125), SIZE))  # a correction, as tracking goes on
    page.get_by_role("button", name="Track forward").wait_for()
    settle(page)
    prompted = studio.ask("/v1/projects/clip/timeline")["objects"][0]["prompted"]
    shown(page, prompted[-1])  # where it was made

    size = page.get_by_label("Size")
    assert not size.is_visible()  # nothing is painted by clicks
    stage = page.locator("#stage").bounding_box()
    page.get_by_role("button", name="Brush").tap()
    size.click(trial=True)  # it is there, and nothing lies on it
    assert page.locator("#stage").bounding_box() == stage, "the picture stays where it is"
    shoot(page, "phone-brush")
    page.get_by_role("button", name="Export").tap()
    go = page.get_by_role("dialog", name="Export").get_by_role("button", name="Export")
    go.wait_for()
    shoot(page, "phone-export")
    spot = go.bounding_box()
    assert spot["y"] + spot["height"] <= 844


def drop(page: Any, *files: Path, text: str = "") -> None:
    """Drag files, or a text, over the page, and let go of them there."""
    data = page.evaluate_handle(
        """([files, text]) => { const data = new DataTransfer();
            if (text) data.setData("text/uri-list", text);
            for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name));
            return data; }""",
        [[[path.name, list(path.read_bytes())] for path in files], text],
    )
    page.dispatch_event("#stage", "dragover", {"dataTransfer": data})
    assert page.evaluate("document.body.classList.contains('dropping')")
    page.dispatch_event("#stage", "drop", {"dataTransfer": data})
    assert not page.evaluate("document.body.classList.contains('dropping')")


def test_what_is_dropped_on_the_page_is_opened(start: Start, page: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no picture")
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    studio = start(tmp_path / "empty")
    page.goto(studio.address)
    page.get_by_role("dialog", name="Open").wait_for()

    drop(page, text=f"{studio.address}/v1/server")  # a link: nothing to open, and the page stays
    drop(page, *(tmp_path / f"{number}.png" for number in (2, 0, 1)))
    page.wait_for_selector("#stage[aria-label^='Photo 1 of 3']")
    page.get_by_role("dialog", name="Open").wait_for(state="hidden")
    (project,) = studio.ask("/v1/projects")
    names = [frame["name"] for frame in studio.ask(f"/v1/projects/{project['name']}/frames")]
    assert sorted(names) == ["0.png", "1.png", "2.png"]

    drop(page, tmp_path / "notes.txt")
    page.locator(".toast.error").wait_for()
    assert page.locator("#stage").get_attribute("aria-label").startswith("Photo 1 of 3"), "what is open stays open"


def test_what_a_policy_refuses_is_noticed(page: Any, wrong: list[str]) -> None:
    """These tests would not see what the page's security policy stops if this one failed."""
    policy = """<meta http-equiv="Content-Security-Policy" content="img-src 'none'">"""
    page.goto(f"data:text/html,{policy}<img src='data:image/gif;base64,R0lGODlhAQABAAAAADs='>")
    until(lambda: page.wait_for_timeout(20) or any("policy: img-src refused" in line for line in wrong))
    wrong.clear()
