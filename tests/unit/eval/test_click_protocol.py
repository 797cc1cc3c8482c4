"""The simulated user, without a network where none is needed."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from sam2.eval.clicks import (
    RITM,
    SAM,
    ClickProtocol,
    ClickScores,
    ObjectScore,
    evaluate_clicks,
    evaluate_example,
    evaluate_picture,
    iou,
    next_click,
    pixels_of,
    tight_box,
)
from sam2.eval.datasets import ClickExample
from sam2.modeling.types import LOW_RES_LIMIT, ImageFeatures, MaskCandidates
from sam2.utils.transforms import IMAGE_MEAN, IMAGE_STD

HEIGHT, WIDTH = 48, 64


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


class FakeModel(torch.nn.Module):
    """Answers call number i with ``answers[i]``, a mask the size of the photo; notes what it was asked."""

    image_size = 256
    device = torch.device("cpu")

    def __init__(self, answers):
        super().__init__()
        self.answers, self.asked = list(answers), []

    def encode_image(self, pixels):
        assert pixels.shape == (1, 3, 256, 256)
        empty = torch.zeros(1, 1, 16, 16)
        return ImageFeatures(empty, (torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 32, 32)), empty)

    def condition_on_nothing(self, embed):
        return embed

    def answer_prompts(self, embed, high_res, prompts, *, multimask):
        mask = torch.from_numpy(self.answers[min(len(self.asked), len(self.answers) - 1)]).float()
        self.asked.append((prompts, multimask))
        logits = torch.nn.functional.interpolate((mask * 80 - 40)[None, None], size=(64, 64), mode="nearest")
        count = 3 if multimask else 1
        logits = torch.cat([torch.full_like(logits, -40.0)] * (count - 1) + [logits], dim=1)
        ious = torch.linspace(0.1, 0.9, count)[None]
        return MaskCandidates(logits, ious, torch.zeros(1, count, 4), torch.ones(1, 1))


def example(mask, ignore=None):
    return ClickExample("it", np.zeros((HEIGHT, WIDTH, 3), np.uint8), mask, ignore)


def test_the_box_is_tight():
    assert tight_box(rectangle(10, 5, 31, 20)) == (10, 5, 30, 19)


def test_the_first_click_is_in_the_middle():
    assert next_click(rectangle(10, 5, 31, 20), rectangle(0, 0, 0, 0)) == pytest.approx((17, 12, 1), abs=7)
    x, y, label = next_click(rectangle(11, 10, 22, 21), rectangle(0, 0, 0, 0))
    assert (x, y, label) == (16, 15, 1)


def test_the_border_of_the_photo_is_a_border():
    x, y, _ = next_click(rectangle(0, 0, 21, 21), rectangle(0, 0, 0, 0))
    assert (x, y) == (10, 10)


def test_the_next_click_is_in_the_middle_of_the_largest_error():
    truth = rectangle(10, 10, 41, 31)
    missed = next_click(truth, rectangle(10, 10, 20, 31))
    assert missed[2] == 1
    assert (truth & ~rectangle(10, 10, 20, 31))[missed[1], missed[0]]
    extra = truth | rectangle(45, 31, 64, 48)
    x, y, label = next_click(truth, extra)
    assert label == 0
    assert not truth[y, x]
    assert 50 < x < 59


def test_clicks_avoid_what_is_ignored():
    truth, ignore = rectangle(10, 10, 41, 31), rectangle(20, 0, 64, 48)
    x, _, label = next_click(truth, rectangle(0, 0, 0, 0), ignore)
    assert (x < 20, label) == (True, 1)


@pytest.mark.parametrize(
    ("shown", "ignore", "expected"),
    [
        (rectangle(0, 0, 10, 10), None, 1.0),
        (rectangle(0, 0, 5, 10), None, 0.5),
        (rectangle(20, 20, 30, 30), None, 0.0),
        (rectangle(0, 0, 20, 10), rectangle(10, 0, 64, 48), 1.0),
        (rectangle(0, 0, 20, 10), rectangle(0, 0, 10, 10), 0.0),
    ],
)
def test_iou(shown, ignore, expected):
    assert iou(shown, rectangle(0, 0, 10, 10), ignore) == expected


def test_where_both_errors_are_equally_deep_what_is_too_much_is_clicked_on():
    truth, shown = rectangle(10, 10, 21, 21), rectangle(40, 10, 51, 21)
    assert next_click(truth, shown) == (45, 15, 0)


def test_a_place_is_not_clicked_twice():
    truth, nothing = rectangle(10, 10, 21, 21), rectangle(0, 0, 0, 0)
    clicked = nothing.copy()
    places = []
    for _ in range(9):
        x, y, _ = next_click(truth, nothing, clicked=clicked)
        places.append((x, y))
        clicked[y, x] = True
    # the deepest pixels first: the middle, then those around it
    assert places[0] == (15, 15)
    assert sorted(places) == [(x, y) for x in (14, 15, 16) for y in (14, 15, 16)]


def test_clicking_ends_where_nothing_is_wrong():
    """The score stays; what is ignored is nothing to click on."""
    truth, ignore = rectangle(16, 12, 48, 36), rectangle(48, 0, 64, 48)
    model = FakeModel([truth, truth | ignore])
    score = evaluate_example(model, example(truth, ignore), clicks=4)
    assert len(model.asked) == 2
    assert score.clicks == (1, 1, 1, 1)


def test_ritm_asks_for_one_mask_and_clicks_elsewhere():
    """A model that never listens: every click is at another place, and no click gets three masks."""
    truth, nothing = rectangle(16, 12, 48, 36), rectangle(0, 0, 0, 0)
    model = FakeModel([nothing])
    score = evaluate_example(model, example(truth), clicks=6, protocol=RITM)
    assert not any(multimask for _, multimask in model.asked)
    last, _ = model.asked[-1]
    assert len({tuple(point) for point in last.points[0].tolist()}) == 6
    assert score.clicks == (0,) * 6

    stubborn = FakeModel([nothing])
    evaluate_example(stubborn, example(truth), clicks=3, protocol=SAM)
    last, _ = stubborn.asked[-1]
    assert len({tuple(point) for point in last.points[0].tolist()}) == 1


def test_the_oracle_takes_the_best_mask_by_the_truth():
    """Of the three masks, the predicted IoUs like the last one best; the truth may like another."""
    truth = rectangle(16, 12, 48, 36)

    class TwoMinds(FakeModel):
        def answer_prompts(self, *args, multimask):
            found = super().answer_prompts(*args, multimask=multimask)
            return replace(found, logits=found.logits.flip(1)) if multimask else found

    by_prediction = evaluate_example(TwoMinds([truth]), example(truth), clicks=1)
    by_truth = evaluate_example(TwoMinds([truth]), example(truth), clicks=1, protocol=ClickProtocol(oracle=True))
    assert by_prediction.clicks == (0,)
    assert by_truth.clicks[0] == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="three masks"):
        ClickProtocol(oracle=True, candidates=False)


def test_objects_of_a_picture_share_its_encoding():
    one, other = rectangle(5, 5, 20, 20), rectangle(30, 20, 60, 40)

    class Counting(FakeModel):
        encoded = 0

        def encode_image(self, pixels):
            self.encoded += 1
            return super().encode_image(pixels)

    model = Counting([one])
    first = example(one)
    scores = evaluate_picture(model, [first, replace(first, mask=other)], clicks=2)
    assert model.encoded == 1
    assert scores[0] == evaluate_example(FakeModel([one]), example(one), clicks=2)
    assert scores[1].clicks == (0, 0)
    assert evaluate_picture(model, []) == []


def test_two_empty_masks_agree():
    nothing = np.zeros((4, 4), bool)
    assert iou(nothing, nothing) == 1.0


def test_a_perfect_answer_scores_one():
    mask = rectangle(16, 12, 48, 36)
    score = evaluate_example(FakeModel([mask]), example(mask), clicks=3)
    assert score.box == pytest.approx(1, abs=0.05)
    assert score.clicks == pytest.approx((1, 1, 1), abs=0.05)


def test_what_the_model_is_asked():
    """A box; one click with three candidates, the best of which counts; then all clicks so far and the logits."""
    truth, half, most = rectangle(16, 12, 48, 36), rectangle(16, 12, 32, 36), rectangle(16, 12, 40, 36)
    model = FakeModel([truth, half, most, truth])

    score = evaluate_example(model, example(truth), clicks=3)

    (box, box_multimask), (first, first_multimask), *later = model.asked
    assert box.labels.tolist() == [[2, 3]]
    assert box.points.tolist() == [[[16 * 4, pytest.approx(12 * 256 / 48)], [47 * 4, pytest.approx(35 * 256 / 48)]]]
    assert not box_multimask
    assert first.labels.tolist() == [[1]]
    assert first.masks is None
    assert first_multimask
    assert [prompts.points.shape[1] for prompts, _ in later] == [2, 3]
    assert later[1][0].labels.tolist() == [[1, 1, 1]]
    for prompts, multimask in later:
        assert not multimask
        assert prompts.masks.shape == (1, 1, 64, 64)
        assert prompts.masks.abs().max() == LOW_RES_LIMIT
    assert score.clicks[0] == pytest.approx(0.5, abs=0.05)
    assert score.clicks[1] == pytest.approx(0.75, abs=0.05)
    assert score.clicks[2] == pytest.approx(1.0, abs=0.05)


def test_means_and_clicks_needed():
    scores = ClickScores((ObjectScore("a", 0.5, (0.2, 0.9)), ObjectScore("b", 1.0, (0.4, 0.5))))
    assert scores.box == 0.75
    assert scores.clicks == pytest.approx((0.3, 0.7))
    assert scores.clicks_needed(0.85) == 2
    assert scores.clicks_needed(0.3) == 1.5
    assert scores.clicks_needed(0.3, limit=1) == 1
    assert scores.failures(0.85) == 1
    assert scores.failures(0.95) == 2
    assert scores.objects[1].clicks_needed(0.9) is None


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_the_mode_it_was_in(training):
    mask = rectangle(16, 12, 48, 36)
    model = FakeModel([mask]).train(training)
    assert len(evaluate_clicks(model, [example(mask)], clicks=1).objects) == 1
    assert model.training is training


def test_what_cannot_be_measured_is_refused():
    mask = rectangle(16, 12, 48, 36)
    with pytest.raises(ValueError, match="clicks must be at least 1, got 0"):
        evaluate_clicks(FakeModel([mask]), [example(mask)], clicks=0)
    with pytest.raises(ValueError, match="no examples"):
        evaluate_clicks(FakeModel([mask]), [])
    with pytest.raises(ValueError, match="'it' is empty"):
        evaluate_clicks(FakeModel([mask]), [example(rectangle(0, 0, 0, 0))])
    with pytest.raises(ValueError, match="'it' is empty"):
        evaluate_clicks(FakeModel([mask]), [example(mask, ignore=mask)])


def test_read_only_and_mirrored_photos():
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    expected = pixels_of(image, 64)
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(pixels_of(image, 64), expected)
        torch.testing.assert_close(pixels_of(image[:, ::-1], 64), expected.flip(-1), atol=1e-5, rtol=0)


def test_pixels_are_normalised_as_officially():
    grey = pixels_of(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), 64)
    expected = (1 - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    torch.testing.assert_close(grey[0, :, 5, 7], expected)
