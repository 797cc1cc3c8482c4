from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sam2.image import EncodedImages, Prompts
from sam2.image import core as image_core
from sam2.sam2_image_predictor import SAM2ImagePredictor


def requests(count: int, images: int) -> list[Prompts]:
    """Ragged prompts: one to four points, sometimes a box, sometimes a mask, about alternating images."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        points = rng.random((1 + i % 4, 2)) * 100
        box = np.sort(rng.random((2, 2)) * 100, axis=0).ravel() if i % 3 == 0 else None
        mask = rng.standard_normal((1, 64, 64)) if i % 5 == 0 else None
        made.append(Prompts(points, (rng.random(len(points)) < 0.7).astype(int), box, mask, image=i % images))
    return made


@pytest.fixture
def features(predictor, photo) -> EncodedImages:
    return predictor.encode([photo, photo[:70, :90], photo[:, ::-1]])


def one_by_one(predictor: SAM2ImagePredictor, features: EncodedImages, prompts: list[Prompts]) -> list:
    return [predictor.decode_batch(features, [prompt])[0] for prompt in prompts]


def test_features_say_what_they_are(predictor, features) -> None:
    assert len(features) == 3
    assert features.sizes == ((120, 160), (70, 90), (120, 160))
    assert features.image_size == 256
    assert features.embed.shape == (3, 64, 16, 16)
    assert [tuple(x.shape[1:]) for x in features.high_res] == [(8, 64, 64), (16, 32, 32)]
    assert features[-1].sizes == ((120, 160),)
    assert torch.equal(features[1].embed, features.embed[1:2])
    with pytest.raises(IndexError):
        features[3]


def test_features_that_do_not_fit_are_refused(features) -> None:
    with pytest.raises(ValueError, match="sizes"):
        EncodedImages(features.embed, features.high_res, features.sizes[:2])
    with pytest.raises(ValueError, match="do not fit"):
        EncodedImages(features.embed, features.high_res[::-1], features.sizes)
    with pytest.raises(ValueError, match="4 dimensions"):
        EncodedImages(features.embed[0], features.high_res, features.sizes)


def test_images_encode_alike_alone_and_together(predictor, photo, features) -> None:
    torch.testing.assert_close(predictor.encode(photo[:70, :90]).embed, features[1].embed, rtol=1e-4, atol=1e-4)


def test_nothing_to_encode_is_refused(predictor) -> None:
    with pytest.raises(ValueError, match="images"):
        predictor.encode([])


def test_ragged_prompts_of_many_images_equal_one_by_one(predictor, features) -> None:
    prompts = requests(13, len(features))

    together = predictor.decode_batch(features, prompts)

    for got, want, prompt in zip(together, one_by_one(predictor, features, prompts), prompts, strict=True):
        assert got.size == features.sizes[prompt.image]
        torch.testing.assert_close(got.logits, want.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(got.ious, want.ious, rtol=1e-4, atol=1e-4)


def test_prompts_of_equal_length_share_a_pass(predictor, features, monkeypatch) -> None:
    rows = []
    decode_masks = type(predictor.model).decode_masks

    def counted(self, embed, high_res, prompts, **options):
        rows.append((len(prompts), prompts.num_points, prompts.masks is not None, len(embed)))
        return decode_masks(self, embed, high_res, prompts, **options)

    monkeypatch.setattr(type(predictor.model), "decode_masks", counted)
    point, box = np.array([[10.0, 20.0]]), np.array([10.0, 20.0, 50.0, 60.0])
    predictor.decode_batch(
        features,
        [
            Prompts(points=point, labels=[1], image=0),
            Prompts(boxes=box, image=0),
            Prompts(points=point, labels=[0], image=1),
            Prompts(boxes=[box, box], image=0),
            Prompts(points=point, labels=[1], masks=np.zeros((64, 64)), image=2),
        ],
    )

    # two points of two images, three boxes of one image (which is not repeated), one point with a mask
    assert rows == [(2, 1, False, 2), (3, 2, False, 1), (1, 1, True, 1)]


def test_many_objects_are_decoded_in_parts(predictor, features, monkeypatch) -> None:
    boxes = np.sort(np.random.default_rng(0).random((7, 2, 2)) * 100, axis=1).reshape(7, 4)
    whole = predictor.decode(features, boxes=boxes, image=1)
    monkeypatch.setattr(image_core, "rows_at_once", lambda *_: 3)

    parts = predictor.decode(features, boxes=boxes, image=1)

    assert parts.logits.shape == (7, 3, 64, 64)
    torch.testing.assert_close(parts.logits, whole.logits, rtol=1e-4, atol=1e-4)


def test_rows_at_once_follow_the_size_of_the_maps() -> None:
    assert image_core.rows_at_once(1024, torch.device("cpu")) == 16
    assert image_core.rows_at_once(512, torch.device("cpu")) == 64
    assert image_core.rows_at_once(2048, torch.device("cuda")) == 16
    assert image_core.rows_at_once(2048, torch.device("cpu")) == 4


def test_no_objects_give_no_masks(predictor, features) -> None:
    result = predictor.decode(features, boxes=np.zeros((0, 4)), multimask=False)

    assert len(result) == 0
    assert result.masks().shape == (0, 1, 120, 160)
    assert result.best().ious.shape == (0, 1)
    assert predictor.decode_batch(features, []) == []


def test_results_know_their_image(predictor, features) -> None:
    result = predictor.decode(features, points=[[10.0, 20.0]], labels=[1], image=1)

    assert result.masks().shape == (1, 3, 70, 90)
    assert result.masks().dtype == torch.bool
    assert result.full_logits().dtype == torch.float32
    assert torch.equal(result.masks(), result.full_logits() > 0)
    assert result.low_res.abs().max() <= 32
    assert result.object_scores.shape == (1,)


def test_the_best_candidate_has_the_highest_iou(predictor, features) -> None:
    result = predictor.decode(features, boxes=[[0, 0, 50, 50], [20, 20, 90, 60]])

    best = result.best()

    assert best.logits.shape == (2, 1, 64, 64)
    assert torch.equal(best.ious[:, 0], result.ious.amax(1))
    for row in range(2):
        assert torch.equal(best.logits[row, 0], result.logits[row, result.ious[row].argmax()])


def test_an_unknown_image_is_refused(predictor, features) -> None:
    with pytest.raises(ValueError, match=r"image must be in 0..2, got 3"):
        predictor.decode(features, boxes=[0, 0, 5, 5], image=3)


def test_the_prompt_at_fault_is_named(predictor, features) -> None:
    with pytest.raises(ValueError, match=r"prompts\[1\]: boxes must be finite"):
        predictor.decode_batch(features, [Prompts(boxes=[0, 0, 5, 5]), Prompts(boxes=[0, 0, 5, np.nan])])


def test_features_of_another_size_are_refused(predictor, features) -> None:
    fine, middle = features.high_res
    small = EncodedImages(features.embed[..., :8, :8], (fine[..., :32, :32], middle[..., :16, :16]), features.sizes)

    with pytest.raises(ValueError, match="image_size 256"):
        predictor.decode(small, boxes=[0, 0, 5, 5])


def test_eight_threads_give_the_results_of_one(predictor, photo, features) -> None:
    prompts = requests(40, len(features))
    serial = one_by_one(predictor, features, prompts)
    embed = predictor.encode(photo).embed

    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda prompt: predictor.decode_batch(features, [prompt])[0], prompts))
        encoded = list(pool.map(lambda _: predictor.encode(photo).embed, range(8)))

    for got, want in zip(parallel, serial, strict=True):
        assert torch.equal(got.logits, want.logits)
        assert torch.equal(got.masks(), want.masks())
    assert all(torch.equal(x, embed) for x in encoded)
    assert not predictor._is_image_set


def test_pictures_that_may_not_be_written_to_are_read(predictor: SAM2ImagePredictor) -> None:
    """As ``np.asarray`` gives them of a PIL image; PyTorch warns of sharing such memory."""
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    predictor.set_image(picture)
    expected = predictor.get_image_embedding()
    picture.flags.writeable = False

    predictor.set_image(picture)

    assert torch.equal(predictor.get_image_embedding(), expected)
