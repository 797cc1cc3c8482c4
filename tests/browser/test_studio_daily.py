"""A day's work on the studio's page: by keys alone, with the brush, through a set of photos, everything at once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_studio import Start, on_page, settle, shoot
from PIL import Image

from sam2.interop.rle import decode_mask

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SIZE = (320, 240)
NAMELESS = """() => [...document.querySelectorAll("button, input, select, a, dialog, [role], [tabindex]")]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length || one.title))
    .map((one) => one.outerHTML)"""


def scene(seed: int = 0) -> Image.Image:
    """An orange disc and a blue square on dark noise."""
    image = np.random.default_rng(seed).integers(20, 60, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    image[(columns - 110) ** 2 + (rows - 120) ** 2 < 45**2] = (230, 130, 40)
    image[60:130, 240:300] = (60, 110, 230)
    return Image.fromarray(image)


def opened(start: Start, page: Any, path: Path) -> tuple[Any, str]:
    """The studio and the name of the project that its page shows."""
    studio = start(path)
    page.goto(f"{studio.address}/#project={path.stem}")
    page.wait_for_selector("#stage[aria-label^=Photo]")
    page.wait_for_timeout(300)
    return studio, path.stem


def objects(studio: Any, project: str, frame: int = 0) -> list[dict[str, Any]]:
    return studio.ask(f"/v1/projects/{project}/frames/{frame}")["objects"]


def drawn(page: Any) -> int:
    """Pixels of the upper canvas, which has prompts and previews, that are not empty."""
    return page.evaluate(
        """() => { const above = document.querySelectorAll("#stage canvas")[1];
            const context = new OffscreenCanvas(above.width, above.height).getContext("2d", {willReadFrequently: true});
            context.drawImage(above, 0, 0);
            const { data } = context.getImageData(0, 0, above.width, above.height);
            let count = 0;
            for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
            return count; }"""
    )


def until(condition: Callable[[], object]) -> None:
    """Wait for what the page cannot be asked for by a selector."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def test_by_keys_alone(start: Start, page: Any, tmp_path: Path) -> None:
    scene().save(tmp_path / "scene.png")
    studio, project = opened(start, page, tmp_path / "scene.png")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "stage":
            break
    page.wait_for_selector("#stage[data-keys]")
    for _ in range(8):  # from the middle to the disc
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    one = objects(studio, project)[0]
    assert one["prompts"]["points"][0]["label"] == 1
    assert decode_mask(one["mask"])[120, 110]
    assert page.locator("#status").inner_text().startswith("Point added, frame 1, score ")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+Enter")
    settle(page)
    assert [point["label"] for point in objects(studio, project)[0]["prompts"]["points"]] == [1, 0]
    page.keyboard.press("Control+z")
    page.wait_for_selector("#redo:not([disabled])")
    settle(page)
    assert len(objects(studio, project)[0]["prompts"]["points"]) == 1
    page.keyboard.press("Control+Shift+z")
    page.wait_for_selector("#redo[disabled]")
    settle(page)
    assert len(objects(studio, project)[0]["prompts"]["points"]) == 2

    page.keyboard.press("Escape")
    for key, tool in (("b", "Brush"), ("e", "Eraser"), ("x", "Box"), ("v", "Select"), ("c", "Click")):
        page.keyboard.press(key)
        page.wait_for_selector(f"#tools button[aria-pressed=true]:has-text('{tool}')")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Help").wait_for()
    shoot(page, "help")
    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Help").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "stage"
    page.keyboard.press("1")
    page.wait_for_selector("#objects li[aria-current=true]")
    page.keyboard.press("Delete")
    page.get_by_label("Name of object 1").wait_for(state="detached")
    assert objects(studio, project) == []
    page.keyboard.press("Control+z")
    page.get_by_label("Name of object 1").wait_for()
    assert page.evaluate(NAMELESS) == []
    page.get_by_label("Name of object 1").fill("disc")
    page.keyboard.press("Enter")
    page.get_by_label("Name of disc").wait_for()
    page.keyboard.press("b")  # a key again, and no letter of the name
    page.wait_for_selector("#tools button[aria-pressed=true]:has-text('Brush')")
    assert page.get_by_label("Name of disc").input_value() == "disc"
    page.get_by_label("Hide disc").click()
    page.get_by_role("button", name="New object").click()
    page.get_by_label("Delete object 2").click()
    page.get_by_label("Name of object 2").wait_for(state="detached")
    page.wait_for_timeout(200)
    assert page.locator("#objects li[aria-current=true]").count() == 0, "what is hidden is not chosen unasked"


def test_the_pointer_shows_what_a_click_would_give(start: Start, page: Any, tmp_path: Path) -> None:
    scene().save(tmp_path / "scene.png")
    studio, project = opened(start, page, tmp_path / "scene.png")
    assert drawn(page) == 0
    page.mouse.move(*on_page(page, (100, 110), SIZE))
    until(lambda: drawn(page) > 5000)
    shoot(page, "photo-hovered")
    assert objects(studio, project) == []
    page.mouse.move(5, 5)
    until(lambda: drawn(page) == 0)
    page.keyboard.press("p")  # no preview any more
    page.mouse.move(*on_page(page, (100, 110), SIZE))
    page.wait_for_timeout(400)
    assert drawn(page) == 0
    page.mouse.click(*on_page(page, (100, 110), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    assert decode_mask(objects(studio, project)[0]["mask"])[120, 110]


def test_the_brush_paints_the_eraser_takes_away_and_all_can_be_undone(start: Start, page: Any, tmp_path: Path) -> None:
    scene().save(tmp_path / "scene.png")
    studio, project = opened(start, page, tmp_path / "scene.png")

    def stroke(tool: str, points: list[tuple[float, float]]) -> None:
        page.get_by_role("button", name=tool).click()
        page.mouse.move(*on_page(page, points[0], SIZE))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*on_page(page, point, SIZE), steps=6)
        page.mouse.up()
        settle(page)

    def mask() -> np.ndarray | None:
        found = objects(studio, project)
        return decode_mask(found[0]["mask"]) if found and found[0]["mask"] else None

    stroke("Brush", [(80, 120), (140, 120)])
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    painted = mask()
    assert painted is not None
    assert painted[120, 80:141].all()
    assert not painted[60, :].any()
    stroke("Eraser", [(110, 90), (110, 150)])
    erased = mask()
    assert erased is not None
    assert not erased[120, 110]
    assert erased[120, 82]
    assert erased.sum() < painted.sum()
    shoot(page, "photo-brushed")
    page.get_by_role("button", name="Click").click()
    page.mouse.click(*on_page(page, (110, 140), SIZE))
    settle(page)
    refined = mask()
    assert refined is not None
    assert (refined != erased).any()

    for expected in (erased, painted, None):
        page.keyboard.press("Control+z")
        page.wait_for_timeout(300)
        settle(page)
        found = mask()
        assert (found is None) if expected is None else (found == expected).all()
    for expected in (painted, erased, refined):
        page.keyboard.press("Control+Shift+z")
        page.wait_for_timeout(300)
        settle(page)
        assert (mask() == expected).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_a_set_of_photos_is_gone_through(start: Start, page: Any, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    (tmp_path / "photos").mkdir()
    for number in range(4):
        scene(number).save(tmp_path / "photos" / f"{number}.png")
    studio, project = opened(start, page, tmp_path / "photos")

    def shows(number: int) -> None:
        page.wait_for_selector(f"#stage[aria-label^='Photo {number} of 4']")
        page.wait_for_timeout(200)

    for number, spot in ((1, (110, 120)), (2, (270, 95))):
        page.mouse.click(*on_page(page, spot, SIZE))
        page.get_by_label("Name of object 1").wait_for()
        settle(page)
        page.get_by_role("button", name="Done, next").click()
        shows(number + 1)
        page.get_by_label("Name of object 1").wait_for(state="detached")
    page.get_by_label("Status of the photo").select_option("review")
    until(lambda: page.get_by_role("progressbar", name="Photos done").evaluate("one => one.value") == 0.5)
    page.get_by_role("button", name="Next photo").click()
    shows(4)
    page.get_by_label("Status of the photo").select_option("review")
    page.get_by_label("Photos to go through").select_option("review")
    page.get_by_role("button", name="Previous photo").click()
    shows(3)
    page.get_by_role("button", name="Previous photo").click()  # none before it is for review
    page.wait_for_timeout(300)
    shows(3)
    page.get_by_label("Photos to go through").select_option("all")
    page.get_by_role("button", name="Previous photo").click()
    shows(2)
    page.get_by_label("Name of object 1").wait_for()
    shoot(page, "photos")
    masks = [decode_mask(objects(studio, project, frame)[0]["mask"]) for frame in (0, 1)]
    assert masks[0][120, 110]
    assert masks[1][95, 270]
    assert not masks[1][120, 110]

    page.reload()
    shows(2)
    page.get_by_label("Name of object 1").wait_for()
    assert page.get_by_label("Status of the photo").input_value() == "done"
    page.get_by_role("button", name="Next photo").click()
    shows(3)
    page.mouse.click(*on_page(page, (110, 120), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    page.get_by_role("button", name="Previous photo").click()
    shows(2)
    page.keyboard.press("Control+z")  # what is taken back is seen
    shows(3)
    page.keyboard.press("Control+Shift+z")
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export")
    dialog.get_by_label("COCO (exact masks)").uncheck()
    dialog.get_by_role("button", name="Export").click()
    toast = page.locator(".toast.error")
    toast.wait_for()
    page.wait_for_timeout(250)  # until it has risen
    edge = toast.bounding_box()
    seen = shoot(page, "export-of-nothing")[int(edge["y"] + edge["height"] / 2), int(edge["x"]) + 2]
    assert np.abs(seen.astype(int) - (225, 29, 72)).max() < 30, "the dialog hides what is said"
    dialog.get_by_label("COCO (exact masks)").check()
    dialog.get_by_label("Only photos that are done").check()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "coco.json")
    coco = COCO(tmp_path / "coco.json")
    assert sorted(image["file_name"] for image in coco.loadImgs(coco.getImgIds())) == ["0.png", "1.png"]
    assert len(coco.getAnnIds()) == 2


def test_everything_is_found_and_taken_back_at_once(start: Start, page: Any, tmp_path: Path) -> None:
    scene().save(tmp_path / "scene.png")
    studio, project = opened(start, page, tmp_path / "scene.png")
    page.get_by_role("button", name="Everything").click()
    page.get_by_text("Finding everything").wait_for()
    page.get_by_label("Name of object 1").wait_for()
    page.wait_for_selector("#everything:not([disabled])")
    found = objects(studio, project)
    assert any(decode_mask(one["mask"])[120, 110] for one in found)
    assert any(decode_mask(one["mask"])[95, 270] for one in found)
    shoot(page, "photo-everything")
    page.wait_for_selector("#undo[title^=Everything]")
    page.keyboard.press("Control+z")
    page.get_by_label("Name of object 1").wait_for(state="detached")
    assert objects(studio, project) == []
    page.keyboard.press("Control+Shift+z")
    page.get_by_label("Name of object 1").wait_for()
    page.wait_for_selector("#redo[disabled]")
    assert objects(studio, project) == found
