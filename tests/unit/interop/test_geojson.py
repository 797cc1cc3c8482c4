import json

import numpy as np
import pytest
from format_samples import (
    HEIGHT,
    WIDTH,
    assert_same_objects,
    blob,
    frames,
    iou,
    masked,
    ring,
    save_pictures,
    still,
    write,
)

from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.geojson import GeojsonWriter, read_geojson

# 0.25 m a pixel, north up, somewhere in UTM zone 32; and turned by 30 degrees
NORTH_UP = (0.25, 0.0, 412_345.5, 0.0, -0.25, 5_678_901.25)
TURNED = (0.2165, 0.125, 412_345.5, 0.125, -0.2165, 5_678_901.25)
SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]


def collection(*features: dict, **fields) -> dict:
    """A file by somebody else."""
    picture = {"name": "a.jpg", "width": WIDTH, "height": HEIGHT}
    return {"type": "FeatureCollection", "features": list(features), "picture": picture, **fields}


def feature(*rings: object, kind: str = "Polygon", **properties: object) -> dict:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": list(rings)}, "properties": properties}


def save(path, value) -> object:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def area(points: list[list[float]]) -> float:
    """Above zero where a closed ring runs counterclockwise, seen with y upwards."""
    x, y = (np.array(points) - points[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def polygons_of(geometry: dict) -> list[list]:
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


@pytest.mark.parametrize("transform", [None, NORTH_UP, TURNED])
def test_pictures_and_frames_come_back(tmp_path, transform) -> None:
    pictures = [still("b.png"), still(), *frames()]
    (folder,) = write(GeojsonWriter(tmp_path, transform=transform), *pictures)

    found = read_geojson(folder)

    assert folder == tmp_path / "geojson"
    for image, known in zip(found, pictures, strict=True):
        assert_same_objects(image, known)
        assert image.frame == known.frame
    assert [(video.name, video.num_frames, video.fps) for video in found.videos] == [("clip.mp4", 250, 12.5)]
    assert_same_objects(read_geojson(folder / "b.geojson").images[0], pictures[0])


@pytest.mark.parametrize("transform", [None, NORTH_UP, TURNED])
def test_rings_run_as_the_standard_says(tmp_path, transform) -> None:
    (folder,) = write(GeojsonWriter(tmp_path, transform=transform), still("a.jpg"))
    written = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))

    holes = 0
    for entry in written["features"]:
        for outline, *inner in polygons_of(entry["geometry"]):
            assert outline[0] == outline[-1]
            assert area(outline) > 0
            assert all(hole[0] == hole[-1] and area(hole) < 0 for hole in inner)
            holes += len(inner)
    assert holes >= 2


@pytest.mark.parametrize("seed", range(6))
def test_geometries_are_valid_and_have_the_area_of_the_mask(tmp_path, seed) -> None:
    shapely = pytest.importorskip("shapely.geometry")
    noise = np.random.default_rng(seed).random((40, 50)) < 0.5 + seed / 15
    for mask in (noise, blob(seed), ring()):
        image = AnnotatedImage("a.jpg", mask.shape[1], mask.shape[0], (masked(mask),))
        (folder,) = write(GeojsonWriter(tmp_path), image)
        (entry,) = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))["features"]
        geometry = shapely.shape(entry["geometry"])

        assert geometry.is_valid
        assert geometry.area == mask.sum()


def test_coordinates_are_those_of_the_map(tmp_path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, 40:44] = True
    (folder,) = write(
        GeojsonWriter(tmp_path, transform=NORTH_UP), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(mask),))
    )
    written = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))
    (outline,) = written["features"][0]["geometry"]["coordinates"]

    assert {tuple(point) for point in outline} == {
        (412_355.5, 5_678_898.75),
        (412_356.5, 5_678_898.75),
        (412_356.5, 5_678_896.25),
        (412_355.5, 5_678_896.25),
    }
    assert written["picture"]["transform"] == list(NORTH_UP)


def test_properties_are_for_people_and_qupath(tmp_path) -> None:
    (folder,) = write(GeojsonWriter(tmp_path), still("a.jpg"))
    first, _, _, box = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))["features"]

    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "car"},
        "label": "car",
        "score": 0.75,
        "attributes": {"predicted_iou": 0.875},
        "picture": "a.jpg",
    }
    assert box["properties"]["box_only"] is True
    assert box["geometry"]["type"] == "Polygon"


def test_files_of_others(tmp_path) -> None:
    hole = [[12, 12], [12, 18], [18, 18], [18, 12], [12, 12]]
    far = [[[30, 30, 1.0], [40, 30, 1.0], [40, 40, 1.0], [30, 30, 1.0]]]
    value = collection(
        feature(SQUARE, hole, classification={"name": "Tumor", "color": [1, 2, 3]}),
        feature([SQUARE], far, kind="MultiPolygon", name="cell"),
        feature(SQUARE, **{"class": "tree"}),
        feature([SQUARE[0]], kind="LineString"),
        {"type": "Feature", "geometry": None, "properties": None},
        feature(SQUARE, classification="car"),
        feature(SQUARE),
    )
    del value["picture"]
    path = save(tmp_path / "a.geojson", value)

    (image,) = read_geojson(path, images=save_pictures(tmp_path / "pictures", "a.tif"))

    assert (image.name, image.size) == ("a.tif", (HEIGHT, WIDTH))
    assert [item.label for item in image.objects] == ["Tumor", "cell", "tree", "car", "object"]
    assert [item.area for item in image.objects] == [64, 155, 100, 100, 100]
    with pytest.raises(ValueError, match="images="):
        read_geojson(path)
    with pytest.raises(ValueError, match="holds no picture a"):
        read_geojson(path, images=save_pictures(tmp_path / "others", "b.tif"))


def test_a_single_feature(tmp_path) -> None:
    path = save(tmp_path / "a.json", feature(SQUARE))

    assert read_geojson(path, images=save_pictures(tmp_path, "a.png")).images[0].objects[0].area == 100


def test_simplified_outlines_are_shorter(tmp_path) -> None:
    picture = AnnotatedImage("a.jpg", WIDTH, HEIGHT, (masked(ring()),))
    (exact,) = write(GeojsonWriter(tmp_path / "exact"), picture)
    (short,) = write(GeojsonWriter(tmp_path / "short", tolerance=0.75), picture)

    assert (short / "a.geojson").stat().st_size < (exact / "a.geojson").stat().st_size / 2
    assert iou(read_geojson(short).images[0].objects[0].mask(), ring()) > 0.95


def test_pictures_of_one_name_have_files_of_their_own(tmp_path) -> None:
    (folder,) = write(GeojsonWriter(tmp_path), still("a.jpg"), still("a.png"))

    assert sorted(image.name for image in read_geojson(folder)) == ["a.jpg", "a.png"]


def test_empty_masks_are_left_out(tmp_path) -> None:
    nothing = ObjectAnnotation.from_mask(np.zeros((HEIGHT, WIDTH), bool))
    (folder,) = write(GeojsonWriter(tmp_path), AnnotatedImage("a.jpg", WIDTH, HEIGHT, (nothing,)))

    assert read_geojson(folder).images[0].objects == ()


@pytest.mark.parametrize("transform", [(1, 2, 3), (1.0, 0, 0, 0, np.nan, 0), (1, 2, 0, 2, 4, 0)])
def test_transforms_without_an_inverse_are_refused(tmp_path, transform) -> None:
    with pytest.raises(ValueError, match="transform"):
        GeojsonWriter(tmp_path, transform=transform)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "must be a JSON object"),
        ({}, "'type' is missing"),
        ({"type": "Point"}, "must be FeatureCollection or Feature, got 'Point'"),
        (collection(features=None), "'features' is missing"),
        (collection(picture={"width": 3, "height": "x"}), "picture: 'height' must be a whole number"),
        (collection({"type": "Polygon"}), r"features\[0\]: 'type' must be Feature, got 'Polygon'"),
        (collection(feature(3)), r"features\[0\]: geometry: 'coordinates': polygon 0: must be a list, got 3"),
        (collection(feature(SQUARE[:4])), "end where it begins"),
        (collection(feature([[1, 1], [2, 2], [1, 1]])), "four positions at least"),
        (collection(feature([[1], [2], [3], [1]])), r"must be \(x, y\), got 1"),
        (collection(feature([[1, 1], [2, float("nan")], [3, 3], [1, 1]])), "must be a number, got nan"),
        (collection(feature([[1, 1], [2, "2"], [3, 3], [1, 1]])), "must be a number, got '2'"),
        (collection(feature(SQUARE, score="x")), r"features\[0\]: properties: 'score' must be a number"),
        (collection({"type": "Feature", "geometry": {"type": "Polygon"}}), "'coordinates' is missing"),
        (collection({"type": "Feature", "geometry": []}), "'geometry' must be an object"),
        (collection(picture={"width": 3, "height": 3, "transform": [1, 2]}), "must hold 6 numbers, got 2"),
        (collection(picture={"width": 3, "height": 3, "transform": [0, 0, 1, 0, 0, 1]}), "must have an inverse"),
        (collection(picture={"width": 3, "height": 3, "video": {}, "frame": 1}), "video: 'name' is missing"),
        (collection(feature(SQUARE, track_id=1), feature(SQUARE, track_id=1)), "track_id must be unique"),
    ],
)
def test_damaged_files_are_refused(tmp_path, value, message) -> None:
    path = save(tmp_path / "broken.geojson", value)

    with pytest.raises(ValueError, match=rf"broken\.geojson.*{message}"):
        read_geojson(path)


def test_what_is_missing_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_geojson(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no GeoJSON file"):
        read_geojson(tmp_path)


def test_nothing_is_left_of_what_is_discarded(tmp_path) -> None:
    writer = GeojsonWriter(tmp_path)
    writer.add(still())
    writer.discard()

    assert list(tmp_path.iterdir()) == []
