"""The studio's page, used as people use it: photos, then a video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_studio import Start, on_page, settle, shoot
from PIL import Image

from sam2.io.video_writer import VideoWriter

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SIZE = (320, 240)
CENTRE, RADIUS = (110, 120), 45
FRAMES = 16


def scene(x: int = CENTRE[0]) -> np.ndarray:
    """An orange disc at x and a blue square on the right, on dark noise, [h, w, 3] uint8."""
    image = np.random.default_rng(0).integers(20, 60, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    image[(columns - x) ** 2 + (rows - CENTRE[1]) ** 2 < RADIUS**2] = (230, 130, 40)
    image[60:130, 240:300] = (60, 110, 230)
    return image


def overlap(mask: np.ndarray, x: int = CENTRE[0]) -> float:
    """The IoU of a mask and the disc."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    disc = (columns - x) ** 2 + (rows - CENTRE[1]) ** 2 < RADIUS**2
    return float((mask & disc).sum() / (mask | disc).sum())


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_a_photo_is_uploaded_clicked_boxed_and_exported(start: Start, page: Any, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    (tmp_path / "folder").mkdir()
    Image.fromarray(scene()).save(tmp_path / "scene.png")
    studio = start(tmp_path / "folder")
    page.goto(studio.address)
    page.get_by_label("Files").set_input_files(tmp_path / "scene.png")
    page.wait_for_selector("#stage[aria-label^=Photo]")
    page.wait_for_timeout(300)
    before = shoot(page, "photo-opened").astype(int)
    project = studio.ask("/v1/projects")[0]["name"]

    page.mouse.click(*on_page(page, (90, 105), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    after = shoot(page, "photo-clicked").astype(int)
    assert overlap(studio.mask(project, 0)) > 0.7
    for spot, tinted in (((130, 140), True), ((20, 20), False), ((270, 95), False)):
        x, y = (int(value) for value in on_page(page, spot, SIZE))
        change = np.abs(after[y - 2 : y + 3, x - 2 : x + 3] - before[y - 2 : y + 3, x - 2 : x + 3]).mean()
        assert (change > 15) == tinted, spot

    page.mouse.click(*on_page(page, (25, 220), SIZE), button="right")
    settle(page)
    prompts = studio.ask(f"/v1/projects/{project}/frames/0")["objects"][0]["prompts"]
    assert [point["label"] for point in prompts["points"]] == [1, 0]

    page.get_by_role("button", name="New object").click()
    page.get_by_label("Name of object 2").wait_for()
    page.mouse.move(*on_page(page, (236, 56), SIZE))
    page.mouse.down()
    page.mouse.move(*on_page(page, (304, 134), SIZE), steps=5)
    page.mouse.up()
    settle(page)
    shoot(page, "photo-boxed")
    second = studio.ask(f"/v1/projects/{project}/frames/0")["objects"][1]
    assert second["prompts"]["box"] == pytest.approx([236, 56, 304, 134], abs=1)
    assert 0.6 < second["area"] / (60 * 70) < 1.4

    for keys, box in (("Control+z", None), ("Control+Shift+z", second["prompts"]["box"])):
        page.keyboard.press(keys)
        page.wait_for_timeout(500)
        objects = studio.ask(f"/v1/projects/{project}/frames/0")["objects"]
        said = [one["prompts"] for one in objects if one["object_id"] == second["object_id"]]
        assert ((said or [None])[0] or {"box": None})["box"] == box

    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export")
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Export").click()
    shoot(page, "photo-exported")
    download.value.save_as(tmp_path / "coco.json")
    coco = COCO(tmp_path / "coco.json")
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == 2
    assert overlap(coco.annToMask(annotations[0]) == 1) > 0.7


def test_a_video_is_tracked_corrected_and_survives(start: Start, page: Any, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", fps=10) as writer:
        for frame in range(FRAMES):
            writer.write(scene(CENTRE[0] + 2 * frame))
    studio = start(tmp_path / "clip.mp4")
    page.goto(studio.address)
    page.get_by_role("button", name="clip").first.click()
    page.wait_for_selector("#stage[aria-label^=Frame]")
    page.wait_for_timeout(300)
    page.mouse.click(*on_page(page, (90, 105), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)

    page.get_by_role("button", name="Track forward").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Track forward").wait_for()
    page.wait_for_selector(f"#stage[aria-label^='Frame {FRAMES} of']")
    tracked = {frame: studio.mask("clip", frame) for frame in range(FRAMES)}
    assert min(overlap(mask, CENTRE[0] + 2 * frame) for frame, mask in tracked.items()) > 0.6

    page.get_by_role("slider", name="Frame").fill("8")
    page.wait_for_selector("#stage[aria-label^='Frame 9 of']")
    page.get_by_role("button", name="Eraser").click()  # the lower half is no part of it
    page.locator("#brush-size").fill("160")
    page.mouse.move(*on_page(page, (60, 165), SIZE))
    page.mouse.down()
    page.mouse.move(*on_page(page, (200, 165), SIZE), steps=10)
    page.mouse.up()
    settle(page)
    shoot(page, "video-corrected")
    corrected = studio.mask("clip", 8)
    assert corrected.sum() < 0.8 * tracked[8].sum()

    page.get_by_role("button", name="Track forward").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Track forward").wait_for()
    shoot(page, "video-tracked-again")
    assert (studio.mask("clip", 8) == corrected).mean() > 0.99
    assert (studio.mask("clip", 4) == tracked[4]).all()
    assert all((studio.mask("clip", frame) != tracked[frame]).any() for frame in range(9, FRAMES))

    page.get_by_role("slider", name="Frame").fill("5")
    page.wait_for_selector("#stage[aria-label^='Frame 6 of']")
    page.wait_for_timeout(400)
    page.reload()
    page.wait_for_selector("#stage[aria-label^='Frame 6 of'][aria-label*='masks of object 1']")

    kept = {frame: studio.mask("clip", frame) for frame in range(FRAMES)}
    studio.kill()
    again = start(tmp_path / "clip.mp4")
    for frame, mask in kept.items():
        np.testing.assert_array_equal(again.mask("clip", frame), mask)
    page.goto(f"{again.address}/#project=clip&frame=5")
    page.wait_for_selector("#stage[aria-label^='Frame 6 of'][aria-label*='masks of object 1']")
    shoot(page, "video-restarted")


def test_fingers_point_and_pinch(start: Start, new_page: Any, tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "scene.png")
    studio = start(tmp_path / "scene.png")
    page = new_page(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True, color_scheme="dark")
    page.goto(f"{studio.address}/#project=scene")
    page.wait_for_selector("#stage[aria-label^=Photo]")
    page.touchscreen.tap(*on_page(page, (90, 105), SIZE))
    page.get_by_label("Name of object 1").wait_for()
    settle(page)
    before = shoot(page, "phone").astype(int)
    assert overlap(studio.mask("scene", 0)) > 0.7

    hands = page.context.new_cdp_session(page)
    x, y = on_page(page, (160, 120), SIZE)
    for step in range(6):
        touches = [{"x": x + side * (40 + 12 * step), "y": y, "id": side} for side in (-1, 1)]
        hands.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": touches})
    hands.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(400)
    after = shoot(page, "phone-pinched").astype(int)
    x, y = (int(value) for value in on_page(page, (160, -8), SIZE))  # above the picture, until it is larger
    assert np.abs(after[y - 3 : y + 3, x - 20 : x + 20] - before[y - 3 : y + 3, x - 20 : x + 20]).mean() > 8
    prompts = studio.ask("/v1/projects/scene/frames/0")["objects"][0]["prompts"]
    assert len(prompts["points"]) == 1, "two fingers say nothing of the object"
    for button in page.locator("button:visible").all():
        assert button.bounding_box()["height"] >= 40, button.inner_text()
