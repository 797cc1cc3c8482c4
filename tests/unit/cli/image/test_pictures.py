"""Pictures beside the masks: effects, and overlays of many objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sam2.viz
from sam2.cli.formats import DATA_SETS, EFFECTS
from sam2.cli.image.found import Candidate, Found
from sam2.cli.image.results import MANY, Photo, draw_found, show
from sam2.cli.prompts import ObjectPrompt
from sam2.interop.formats import FORMATS
from sam2.interop.rle import encode_mask

Cli = Callable[..., Any]


def squares(count: int, size: tuple[int, int] = (120, 400)) -> Photo:
    """A grey photo with ``count`` squares in a row, the last one within the first."""
    found = []
    for number in range(1, count + 1):
        mask = np.zeros(size, bool)
        left = 12 * number if number < count else 16
        mask[20:30, left : left + 10] = True
        if number == 1:
            mask[10:100, 10:340] = True
        found.append(Found(ObjectPrompt(number, ((1.0, 1.0),), (1,)), (Candidate(encode_mask(mask), 0.9),)))
    image = np.random.default_rng(0).integers(100, 140, (*size, 3)).astype(np.uint8)
    return Photo(Path("a.jpg"), "a", image, found)


def test_names_are_those_of_the_parts_that_do_the_work() -> None:
    assert set(EFFECTS) == set(sam2.viz.EFFECTS) - {"overlay", "trail"}
    assert list(DATA_SETS) == [name for name, known in FORMATS.items() if known.images]


def test_effects_are_written_beside_the_overlay(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photo,) = make_photos(2)
    outcome = cli("image", photo, "--everything", "--format", "", "--effect", "Spotlight,cutout", "-o", out)
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in out.iterdir()) == ["2_cutout.png", "2_overlay.jpg", "2_spotlight.jpg"]
    with Image.open(photo) as before, Image.open(out / "2_cutout.png") as cut:
        assert cut.mode == "RGBA"
        pixels = np.asarray(cut)
        inside = np.asarray(before)[:, :, 0] > 150
    assert pixels[inside][:, 3].mean() > 200
    assert pixels[~inside][:, 3].mean() < 20
    with Image.open(out / "2_spotlight.jpg") as spot:
        lit = np.asarray(spot).astype(int).sum(axis=2)
    assert lit[~inside].mean() < 0.8 * 270, "the grey of 90 in three channels gets darker"
    assert cli("image", out, "--everything", "-o", out).status == 2, "none of these is an input"


def test_unknown_effects(cli: Cli, make_photos: Any, tmp_path: Path) -> None:
    outcome = cli("image", *make_photos(1), "--everything", "--effect", "sparkle", "-o", tmp_path / "out")
    assert outcome.status == 2
    assert "--effect must be a list of contour, spotlight, " in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("effect", EFFECTS)
def test_many_objects_have_the_effect_of_few(effect: str) -> None:
    """Where they are drawn a few at a time, or together, what is far from all of them comes out the same."""
    few, many = squares(3), squares(MANY + 5)
    shown = show(effect, many)
    assert shown.shape == (120, 400, 4 if effect == "cutout" else 3)
    np.testing.assert_array_equal(shown[110:, 380:], show(effect, few)[110:, 380:])
    assert (shown[:, :, :3] != many.image).any()


def test_small_objects_are_drawn_over_large_ones_however_many() -> None:
    photo = squares(MANY + 5)
    drawn = draw_found(photo, with_prompts=True)
    assert drawn.shape == photo.image.shape
    middle = drawn[23:27, 18:24].reshape(-1, 3).astype(float).mean(axis=0)
    around = drawn[60:70, 150:200].reshape(-1, 3).astype(float).mean(axis=0)
    assert np.abs(middle - around).max() > 15, "the last square, drawn over the first"


def test_pictures_of_many_objects_are_not_larger_than_they_need_to_be() -> None:
    photo = squares(2, size=(120, 4096))
    assert draw_found(photo, with_prompts=False).shape == (60, 2048, 3)
    assert draw_found(photo, with_prompts=True).shape == (120, 4096, 3)


def test_a_sheet_shows_every_object(cli: Cli, disks: Any, make_photos: Any, tmp_path: Path) -> None:
    photos = make_photos(0, 1, 6)
    options = ("--everything", "--format", "sheet", "--no-overlay", "-l", "disk", "-o", tmp_path / "out")
    assert cli("image", *photos, *options).status == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("*.jpg"))
    assert names == ["0_sheet.jpg", "1_sheet.jpg", "6_sheet.jpg"]
    heights = []
    for name in names:
        with Image.open(tmp_path / "out" / name) as sheet:
            heights.append(sheet.height)
    assert heights[0] < heights[1], "objects have a place below the photo"
