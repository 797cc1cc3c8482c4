"""Effects: what changes, what must not, and what must not be seen any more."""

import cv2
import numpy as np
import pytest

from sam2.viz import EFFECTS, apply_effect, make_effect, object_colour

STILL = [name for name in EFFECTS if name != "trail"]
Picture = np.ndarray


@pytest.fixture
def photo() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)


def disk(height: int = 240, width: int = 320, x: float = 160, y: float = 120, radius: float = 50) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns - x, rows - y) <= radius


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    size = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0


def noisy(shape: tuple[int, int], seed: int) -> Picture:
    """A picture under noise that the means of all blocks with even sides know nothing of."""
    noise = np.random.default_rng(seed).choice([-50, 50], (shape[0], shape[1] // 2, 3))
    picture = np.random.default_rng(1).integers(60, 190, (*shape, 3))
    picture[:, ::2] += noise
    picture[:, 1::2] -= noise
    return picture.astype(np.uint8)


@pytest.mark.parametrize("name", EFFECTS)
def test_the_image_is_left_alone_and_the_form_is_as_promised(name: str, photo: Picture) -> None:
    before, mask = photo.copy(), disk()
    effect = make_effect(name)
    assert effect.name == name
    for masks in ([mask], mask[None], mask[None].astype(np.float32), [mask.astype(np.uint8) * 255], []):
        result = effect(photo, masks)
        assert result.dtype == np.uint8
        assert result.shape == (240, 320, 4 if effect.alpha else 3)
        np.testing.assert_array_equal(photo, before)
    result[:] = 0  # the effect gives away what it has made
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (33, 7), (257, 391)])
def test_any_size_and_any_mask(name: str, shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    corner = np.zeros(shape, bool)
    corner[-1, -1] = True
    effect = make_effect(name)
    for masks in ([], [np.zeros(shape, bool)], [np.ones(shape, bool)], [corner, np.ones(shape, bool), corner]):
        assert effect(photo, masks).shape[:2] == shape
    for strength in (0.1, 10.0):
        assert make_effect(name, strength=strength)(photo, [corner], [300]).shape[:2] == shape


@pytest.mark.parametrize("name", ["spotlight", "blur-background", "pixelate-background"])
def test_objects_are_untouched_and_what_is_around_them_is_not(name: str, photo: Picture) -> None:
    mask = disk()
    result = apply_effect(name, photo, [mask])
    inner, outer = ~grown(~mask, 4), ~grown(mask, 12)
    np.testing.assert_array_equal(result[inner], photo[inner])
    assert np.abs(result[outer].astype(int) - photo[outer]).mean() > 25
    whole = np.ones(mask.shape, bool)
    np.testing.assert_array_equal(apply_effect(name, photo, [whole]), photo)


def test_around_a_spotlight_it_is_dark_and_nearly_grey(photo: Picture) -> None:
    mask = disk()
    outer = ~grown(mask, 12)
    result = apply_effect("spotlight", photo, [mask])[outer].astype(int)
    assert result.mean() < 0.45 * photo[outer].mean()
    assert np.ptp(result, axis=1).mean() < 0.2 * np.ptp(photo[outer].astype(int), axis=1).mean()
    darker = apply_effect("spotlight", photo, [mask], strength=2)[outer]
    assert darker.mean() < 0.6 * result.mean()


@pytest.mark.parametrize("name", ["blur-object", "pixelate-object"])
@pytest.mark.parametrize("place", [(160, 120), (0, 0), (319, 100)])
def test_no_detail_of_a_hidden_object_is_left(name: str, place: tuple[int, int]) -> None:
    """Two pictures with other details and the same means of blocks give the same pixels, in the mask and around it."""
    mask = disk(x=place[0], y=place[1])
    one, two = noisy(mask.shape, seed=2), noisy(mask.shape, seed=3)
    covered = grown(mask, 2)
    assert (one[covered] != two[covered]).mean() > 0.4
    for strength in (0.5, 1.0):
        hidden = [apply_effect(name, picture, [mask], strength=strength) for picture in (one, two)]
        np.testing.assert_array_equal(hidden[0][covered], hidden[1][covered])


@pytest.mark.parametrize("name", ["blur-object", "pixelate-object"])
def test_a_hidden_object_is_coarse_whatever_its_size(name: str) -> None:
    """At most about a hundred colours of a mosaic, and no edge of a pixel's width in a blur."""
    for height, width, radius in ((240, 320, 12), (240, 320, 100), (720, 960, 40), (720, 960, 300)):
        photo = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        mask = disk(height, width, width / 2, height / 2, radius)
        result = apply_effect(name, photo, [mask]).astype(int)
        if name == "pixelate-object":
            assert len(np.unique(result[mask], axis=0)) <= 121
        else:
            steps = np.abs(np.diff(result, axis=1))[mask[:, 1:] & mask[:, :-1]]
            assert steps.max() <= 12
        assert result[mask].std() < 0.35 * photo[mask].std()


@pytest.mark.parametrize("name", ["blur-object", "pixelate-object"])
def test_what_is_away_from_a_hidden_object_stays(name: str, photo: Picture) -> None:
    mask = disk()
    outer = ~grown(mask, 14)
    np.testing.assert_array_equal(apply_effect(name, photo, [mask])[outer], photo[outer])
    np.testing.assert_array_equal(apply_effect(name, photo, [np.zeros_like(mask)]), photo)


@pytest.mark.parametrize("name", ["blur-object", "pixelate-object"])
def test_nothing_is_seen_through_small_holes(name: str) -> None:
    mask = disk()
    specks = np.zeros_like(mask)
    specks[100:140:9, 140:180:9] = specks[120:127, 165:172] = True
    one, two = noisy(mask.shape, seed=2), noisy(mask.shape, seed=3)
    hidden = [apply_effect(name, picture, [mask & ~specks]) for picture in (one, two)]
    np.testing.assert_array_equal(hidden[0][mask], hidden[1][mask])
    gap = disk(radius=25)
    seen = apply_effect(name, one, [mask & ~gap])[~grown(~gap, 8)]
    np.testing.assert_array_equal(seen, one[~grown(~gap, 8)], err_msg="large ones are meant")


def test_a_small_object_before_a_large_one_is_hidden_too(photo: Picture) -> None:
    large, small = disk(radius=100), disk(x=200, radius=8)
    both = apply_effect("pixelate-object", photo, [large, small])
    np.testing.assert_array_equal(both, apply_effect("pixelate-object", photo, [small, large]))
    assert len(np.unique(both[large | small], axis=0)) <= 130


@pytest.mark.parametrize("name", ["blur-background", "pixelate-background"])
def test_no_object_glows_into_its_background(name: str) -> None:
    photo = np.full((240, 320, 3), (20, 120, 40), np.uint8)
    mask = disk()
    photo[mask] = (250, 20, 230)
    outer = ~grown(mask, 3)
    assert np.abs(apply_effect(name, photo, [mask])[outer].astype(int) - (20, 120, 40)).max() <= 2


@pytest.mark.parametrize("name", ["blur-background", "pixelate-background"])
def test_without_an_object_all_is_background(name: str, photo: Picture) -> None:
    result = apply_effect(name, photo, [])
    assert result.std() < 0.3 * photo.std()


def test_a_cutout_is_the_object_on_nothing(photo: Picture) -> None:
    mask = disk()
    result = apply_effect("cutout", photo, [mask])
    inner, outer = ~grown(~mask, 2), ~grown(mask, 2)
    np.testing.assert_array_equal(result[inner][:, :3], photo[inner])
    assert (result[inner][:, 3] == 255).all()
    assert (result[outer][:, 3] == 0).all()
    assert (result[~grown(mask, 8)] == 0).all(), "what is cut off is not in the file"
    edge = result[..., 3][~inner & ~outer]
    assert 0.3 < edge.mean() / 255 < 0.7
    assert ((edge > 10) & (edge < 245)).mean() > 0.3, "edges are soft"


@pytest.mark.parametrize("name", ["cutout", "spotlight"])
def test_soft_edges_grow_with_the_picture(name: str) -> None:
    widths = []
    for scale in (1, 8):
        photo = np.full((240 * scale, 320 * scale, 3), 200, np.uint8)
        mask = disk(240 * scale, 320 * scale, 160 * scale, 120 * scale, 50 * scale)
        row = apply_effect(name, photo, [mask])[120 * scale, : 160 * scale, -1].astype(int)
        widths.append(int(((row > row.min()) & (row < row.max())).sum()))
    assert widths[1] > 1.5 * widths[0]


def test_a_contour_is_a_line_in_the_colour_of_its_object(photo: Picture) -> None:
    mask = disk()
    result = apply_effect("contour", photo, [mask], ids=[3])
    assert np.abs(result[120, 110].astype(int) - object_colour(3)).max() < 90
    inner = ~grown(~mask, 8)
    np.testing.assert_array_equal(result[inner], photo[inner])
    wide = apply_effect("contour", photo, [mask], ids=[3], strength=4)
    assert (wide != photo).any(axis=2).sum() > 2 * (result != photo).any(axis=2).sum()


def test_a_trail_shows_where_an_object_has_been_and_fades() -> None:
    photo, effect = np.full((120, 400, 3), 128, np.uint8), make_effect("trail")
    places = range(30, 370, 10)
    for x in places:
        result = effect(photo, [disk(120, 400, x, 60, 20)], [2])
    left = np.abs(result[60].astype(int) - 128).max(axis=1)
    assert left[places[-1]] == 0, "the object itself is as it was"
    assert left[places[-1] - 40] > 60
    assert left[30] == 0, "long ago"
    values = [left[x] for x in range(places[-1] - 40, places[-1] - 200, -20)]
    assert values == sorted(values, reverse=True)
    colour = result[60, places[-1] - 40].astype(int) - 128
    towards = np.asarray(object_colour(2)) - 128
    assert colour @ towards > 0.95 * np.linalg.norm(colour) * np.linalg.norm(towards)
    for _ in range(30):
        result = effect(photo, [])
    np.testing.assert_array_equal(result, photo)


def test_longer_trails() -> None:
    photo, mask = np.full((40, 60, 3), 128, np.uint8), disk(40, 60, 20, 20, 8)
    for strength, seen in ((0.5, False), (2.0, True)):
        effect = make_effect("trail", strength=strength)
        effect(photo, [mask])
        for _ in range(20):
            result = effect(photo, [np.zeros_like(mask)])
        assert bool((result != photo).any()) is seen


def test_two_trails_do_not_know_of_each_other() -> None:
    photo, mask = np.full((40, 60, 3), 128, np.uint8), disk(40, 60, 20, 20, 8)
    one, two = make_effect("trail"), make_effect("trail")
    one(photo, [mask])
    np.testing.assert_array_equal(two(photo, []), photo)
    assert (one(photo, []) != photo).any()
    with pytest.raises(ValueError, match="image is 50x40, the frames before were 60x40"):
        one(photo[:, :50], [])


def test_an_overlay_is_not_dimmed_and_has_the_colours_of_the_ids(photo: Picture) -> None:
    mask = disk()
    result = apply_effect("overlay", photo, [mask], ids=[2])
    outer = ~grown(mask, 12)
    np.testing.assert_array_equal(result[outer], photo[outer])
    assert (result != apply_effect("overlay", photo, [mask], ids=[1])).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sepia"}, "name must be one of overlay, contour"),
        ({"name": "trail"}, "trail shows past positions and needs the frames of a video"),
        ({"image": np.zeros((4, 4), np.uint8)}, "image must be a uint8 array"),
        ({"image": np.zeros((4, 4, 3))}, "image must be a uint8 array"),
        ({"masks": [np.zeros((5, 4))]}, r"masks\[0\] must have the image's shape"),
        ({"ids": [1, 2]}, r"ids must have one entry per mask \(1\), got 2"),
        ({"strength": 0}, "strength must be above 0 and at most 10, got 0"),
        ({"strength": float("nan")}, "strength must be above 0"),
    ],
)
def test_wrong_input_is_named(change: dict, message: str) -> None:
    arguments = {"name": "spotlight", "image": np.zeros((4, 4, 3), np.uint8), "masks": [np.zeros((4, 4))], **change}
    with pytest.raises(ValueError, match=message):
        apply_effect(**arguments)
