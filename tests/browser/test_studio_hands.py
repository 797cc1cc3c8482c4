"""A photo on the studio's page by keyboard, by mouse at rest and by brush, and how the page looks in light and dark."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_studio import Running, Start, on_page, settle, shoot
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SIZE = (320, 240)
NAME = "scene"
LEAST_CONTRAST = 4.5

UPPER = """() => {
  const canvas = document.querySelectorAll("#stage canvas")[1];
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, place) => place % 4 === 3 && value).length;
}"""

NAMED = "button, input, select, dialog, [role=application]"
NAMELESS = """(named) => [...document.querySelectorAll(named)].filter((one) => {
  if (!one.checkVisibility()) return false;
  const labels = [...(one.labels ?? [])].map((label) => label.textContent).join("");
  const own = one.tagName === "BUTTON" ? one.textContent : "";
  return !((one.getAttribute("aria-label") ?? "") + labels + own + (one.title ?? "")).trim();
}).map((one) => one.outerHTML.slice(0, 120))"""

PALE = """(least) => {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (colour) => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((c) => top[c] * top[3] + under[c] * (1 - top[3])).concat(1);
  const ground = (one) => {
    if (!one) return parts("Canvas");
    const own = parts(getComputedStyle(one).backgroundColor);
    return own[3] === 1 ? own : over(own, ground(one.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = "button, label, h1, h2, p, dt, dd, kbd, output, input:not([type=range], [type=color])";
  return [...document.querySelectorAll(words)]
    .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.id !== "status")
    .filter((one) => (one.textContent + (one.value ?? "")).trim())
    .map((one) => {
      const under = ground(one);
      const [more, less] = [light(over(parts(getComputedStyle(one).color), under)), light(under)].sort((x, y) => y - x);
      return [(one.id || one.className || one.tagName) + ": " + one.textContent.trim(), (more + 0.05) / (less + 0.05)];
    })
    .filter(([, contrast]) => contrast < least);
}"""


def opened(start: Start, page: Any, folder: Path) -> Running:
    """A studio with a photo of an orange disc, seen on the page."""
    image = np.random.default_rng(0).integers(20, 60, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    image[(columns - 160) ** 2 + (rows - 120) ** 2 < 45**2] = (230, 130, 40)
    Image.fromarray(image).save(folder / f"{NAME}.png")
    studio = start(folder / f"{NAME}.png")
    page.goto(f"{studio.address}/#project={NAME}")
    page.wait_for_selector("#stage[aria-label^=Photo]")
    return studio


def said(studio: Running) -> list[int]:
    """The labels of the points of the first object, as the server has them."""
    objects = studio.ask(f"/v1/projects/{NAME}/frames/0")["objects"]
    return [point["label"] for point in (objects[0]["prompts"] or {"points": []})["points"]] if objects else []


def areas(studio: Running) -> list[int]:
    """The areas in pixels of the masks that the server has."""
    return [one["area"] for one in studio.ask(f"/v1/projects/{NAME}/frames/0")["objects"] if one["mask"]]


def become(page: Any, look: Any, wanted: Any) -> None:
    """Wait until ``look()`` gives what is wanted."""
    for _ in range(100):
        if look() == wanted:
            return
        page.wait_for_timeout(50)
    assert look() == wanted


def test_a_photo_is_annotated_by_keys_alone(start: Start, page: Any, tmp_path: Path) -> None:
    studio = opened(start, page, tmp_path)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "stage":
            break
    page.wait_for_selector("#stage[data-keys]")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage[aria-label*='masks of object 1']")
    page.locator("#status", has_text=re.compile("^Point added")).wait_for(state="attached")
    assert said(studio) == [1]
    assert 0.6 < areas(studio)[0] / (np.pi * 45**2) < 1.5

    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+Enter")
    page.locator("#status", has_text="Negative point added").wait_for(state="attached")
    assert said(studio) == [1, 0]

    page.keyboard.press("Control+z")
    become(page, lambda: said(studio), [1])
    page.keyboard.press("Control+Shift+z")
    become(page, lambda: said(studio), [1, 0])

    for key, tool in zip("xbevhc", ["box", "brush", "erase", "select", "pan", "click"], strict=True):
        page.keyboard.press(key)
        page.wait_for_selector(f"[data-tool={tool}][aria-pressed=true]")
        assert page.locator("[data-tool][aria-pressed=true]").count() == 1
    assert page.evaluate(NAMELESS, NAMED) == []

    page.keyboard.press("?")
    page.get_by_role("dialog", name="Help").wait_for()
    assert page.evaluate(NAMELESS, NAMED) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys:not([open])", state="attached")
    assert page.evaluate("document.activeElement.id") == "stage"


def test_a_mouse_at_rest_previews(start: Start, page: Any, tmp_path: Path) -> None:
    studio = opened(start, page, tmp_path)
    page.wait_for_selector("#stage[aria-busy=false]")
    assert page.evaluate(UPPER) == 0
    page.mouse.move(*on_page(page, (158, 118), SIZE))
    page.mouse.move(*on_page(page, (160, 120), SIZE))
    become(page, lambda: page.evaluate(UPPER) > 200, True)
    assert areas(studio) == []
    page.mouse.move(5, 5)
    become(page, lambda: page.evaluate(UPPER), 0)

    page.mouse.click(*on_page(page, (160, 120), SIZE))
    page.wait_for_selector("#stage[aria-label*='masks of object 1']")
    settle(page)
    page.mouse.move(5, 5)
    assert said(studio) == [1]
    assert 0.6 < areas(studio)[0] / (np.pi * 45**2) < 1.5


def test_strokes_paint_erase_and_are_taken_back(start: Start, page: Any, tmp_path: Path) -> None:
    studio = opened(start, page, tmp_path)

    def drag(button: str, x: int) -> np.ndarray:
        page.get_by_role("button", name=button).click()
        page.mouse.move(*on_page(page, (x, 60), SIZE))
        page.mouse.down()
        page.mouse.move(*on_page(page, (x, 180), SIZE), steps=6)
        page.mouse.up()
        done = "Erased" if button == "Eraser" else "Brushed"
        page.locator("#status", has_text=done).wait_for(state="attached")
        settle(page)
        return studio.mask(NAME, 0)

    steps = [drag("Brush", 100)]
    page.evaluate("document.getElementById('status').textContent = ''")
    steps += [drag("Brush", 220), drag("Eraser", 100)]
    assert steps[0].sum() > 500
    assert steps[0][60:180, 100].all()
    assert steps[1].sum() > 1.5 * steps[0].sum()
    assert not steps[2][60:180, 100].any()
    assert steps[2][60:180, 220].all()

    sums = [int(mask.sum()) for mask in steps]
    for left in (sums[1:2], sums[:1], []):
        page.keyboard.press("Control+z")
        become(page, lambda: areas(studio), left)
    page.keyboard.press("Control+z")  # the object itself
    page.wait_for_selector("#undo:disabled")
    page.keyboard.press("Control+Shift+z")
    for mask in steps:
        page.keyboard.press("Control+Shift+z")
        become(page, lambda: areas(studio), [int(mask.sum())])
        np.testing.assert_array_equal(studio.mask(NAME, 0), mask)
    page.wait_for_selector("#redo:disabled")


@pytest.mark.parametrize("size", [(1100, 720), (390, 844)], ids=["desk", "phone"])
def test_words_are_legible_in_light_and_dark(
    start: Start, chromium: Any, tmp_path: Path, size: tuple[int, int]
) -> None:
    phone = size[0] < 480
    viewport = {"width": size[0], "height": size[1]}
    context = chromium.new_context(viewport=viewport, has_touch=phone, is_mobile=phone, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(20_000)
    studio = opened(start, page, tmp_path)
    spot = on_page(page, (160, 120), SIZE)
    page.touchscreen.tap(*spot) if phone else page.mouse.click(*spot)
    page.wait_for_selector("#stage[aria-label*='masks of object 1']")
    settle(page)
    brightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("(scheme) => matchMedia(`(prefers-color-scheme: ${scheme})`).matches", scheme)
        brightness[scheme] = shoot(page, f"hands-{'phone' if phone else 'desk'}-{scheme}").mean()
        assert page.evaluate(PALE, LEAST_CONTRAST) == []
        for name in ("Help", "Export"):
            page.get_by_role("button", name=name).first.click()
            page.get_by_role("dialog", name=name).wait_for()
            shoot(page, f"hands-{'phone' if phone else 'desk'}-{scheme}-{name.lower()}")
            assert page.evaluate(PALE, LEAST_CONTRAST) == []
            page.keyboard.press("Escape")
    assert brightness["light"] > brightness["dark"] + 40
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert areas(studio)
    context.close()
