import sys
from pathlib import Path

import numpy as np
import pytest
from format_samples import HEIGHT, WIDTH, frames, ring, still
from PIL import Image

import sam2
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.interop.annotations import AnnotatedImage, ObjectAnnotation
from sam2.interop.coco import CocoWriter
from sam2.interop.supervision import from_detections, to_detections

PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "coffee.png"


@pytest.fixture(scope="module")
def sv():
    return pytest.importorskip("supervision")


def same(found: AnnotatedImage, known: AnnotatedImage) -> None:
    assert (found.name, found.size, found.frame) == (known.name, known.size, known.frame)
    for one, other in zip(found.objects, known.objects, strict=True):
        assert one.box == other.box
        assert (one.label, one.track_id, one.score) == (other.label, other.track_id, other.score)
        assert (one.rle is None) == (other.rle is None)
        assert one.rle is None or np.array_equal(one.mask(), other.mask())


def test_pictures_and_frames_come_back(sv) -> None:
    for known in (still(), *frames()):
        detections = to_detections(known)

        assert isinstance(detections, sv.Detections)
        same(from_detections(detections, name=known.name, size=known.size, video=known.video, frame=known.frame), known)


def test_every_field_is_there(sv) -> None:
    detections = to_detections(frames()[1], labels=("cat", "car"))

    assert detections.xyxy.shape == (2, 4)
    assert detections.mask.shape == (2, HEIGHT, WIDTH)
    assert detections.class_id.tolist() == [2, 1]
    assert detections.data["class_name"].tolist() == ["dog", "car"]
    assert detections.tracker_id.tolist() == [7, 2]
    assert np.array_equal(detections.confidence, np.array([np.nan, 0.25], np.float32), equal_nan=True)


def test_boxes_alone_and_nothing_at_all(sv) -> None:
    box = ObjectAnnotation((1.5, 2, 30, 40), label="dog")
    detections = to_detections(AnnotatedImage("a.jpg", WIDTH, HEIGHT, (box,)))
    empty = to_detections(AnnotatedImage("a.jpg", WIDTH, HEIGHT))

    assert (detections.mask, detections.confidence, detections.tracker_id) == (None, None, None)
    assert empty.is_empty()
    assert from_detections(sv.Detections.empty(), name="a.jpg", size=(HEIGHT, WIDTH)).objects == ()


def test_what_others_made_is_read(sv) -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 20, 30]], float)
    plain = sv.Detections(xyxy=boxes)
    numbered = sv.Detections(xyxy=boxes, class_id=np.array([1, 8]), confidence=np.array([0.5, 1.0]))
    compact = sv.Detections(
        xyxy=boxes[:1], mask=sv.CompactMask.from_dense(ring()[None], np.array([[0, 0, WIDTH, HEIGHT]]), (HEIGHT, WIDTH))
    )

    assert [item.label for item in from_detections(plain, name="a", size=(50, 50)).objects] == ["object"] * 2
    read = from_detections(numbered, name="a", size=(50, 50), labels=["cat", "dog"])
    assert [(item.label, item.score) for item in read.objects] == [("dog", 0.5), ("8", 1.0)]
    assert np.array_equal(from_detections(compact, name="a").objects[0].mask(), ring())


def test_what_is_wrong_is_named(sv) -> None:
    boxes = np.array([[0, 0, 10, 10]], float)
    masked = sv.Detections(xyxy=boxes, mask=np.ones((1, 20, 30), bool))

    with pytest.raises(ValueError, match=r"a\.jpg: size must be given as \(height, width\)"):
        from_detections(sv.Detections(xyxy=boxes), name="a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg: size must be that of the masks, \(20, 30\), got \(30, 20\)"):
        from_detections(masked, name="a.jpg", size=(30, 20))
    with pytest.raises(ValueError, match="box must be finite"):
        from_detections(sv.Detections(xyxy=boxes[:, ::-1]), name="a.jpg", size=(9, 9))
    with pytest.raises(TypeError, match=r"must be supervision\.Detections, got list without xyxy"):
        from_detections([], name="a.jpg")


def test_without_supervision_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)

    with pytest.raises(ImportError, match=r"pip install 'sam2\[supervision\]'"):
        to_detections(still())


def test_annotators_draw_the_masks(sv) -> None:
    image = still()
    scene = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    drawn = sv.MaskAnnotator(opacity=1.0, color=sv.Color.WHITE).annotate(scene.copy(), to_detections(image))
    masks = np.any([item.mask() for item in image.objects if item.rle is not None], axis=0)

    assert np.array_equal(drawn.any(axis=2), masks)
    for annotator in (sv.BoxAnnotator(), sv.LabelAnnotator(), sv.PolygonAnnotator(), sv.HaloAnnotator()):
        assert annotator.annotate(scene.copy(), to_detections(image)).any()


@pytest.mark.parametrize("mode", ["binary_mask", "coco_rle", "uncompressed_rle"])
def test_records_of_the_mask_generator_are_read_by_supervision(sv, mode) -> None:
    generator = SAM2AutomaticMaskGenerator(sam2.load("nano", device="cpu", dtype="float32"), 3, output_mode=mode)
    photo = np.array(Image.open(PHOTO).convert("RGB").resize((150, 100)))
    records = generator.generate(photo)
    proposals = sorted(generator.propose(photo), key=lambda proposal: -proposal.area)

    found = sv.Detections.from_sam(records)

    assert len(found) == len(proposals) > 0
    for mask, box, proposal in zip(found.mask, found.xyxy, proposals, strict=True):
        assert np.array_equal(mask, proposal.mask())
        assert tuple(box) == proposal.box


@pytest.mark.parametrize("polygons", [False, True])
def test_supervision_opens_data_sets_in_coco(sv, tmp_path, polygons) -> None:
    image = still("one.jpg").with_objects([item for item in still().objects if item.rle is not None])
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "one.jpg")
    writer = CocoWriter(tmp_path / "labels", polygons=polygons)
    writer.add(image)
    (path,) = writer.close()

    data = sv.DetectionDataset.from_coco(str(tmp_path), str(path), force_masks=True)
    ((_, _, found),) = list(data)

    assert [data.classes[number] for number in found.class_id] == [item.label for item in image.objects]
    for mask, item in zip(found.mask, image.objects, strict=True):
        both, either = (mask & item.mask()).sum(), (mask | item.mask()).sum()
        # supervision fills polygons half a pixel too wide all around: pycocotools gives the mask back exactly
        assert both / either >= (1 if not polygons else 0.85 if item.area >= 200 else 0.1)
