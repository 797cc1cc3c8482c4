"""Boxes by text, with tiny detectors of random weights that are made here."""

import json
import sys

import numpy as np
import pytest
import torch

import sam2
from sam2 import text

transformers = pytest.importorskip("transformers")

WORDS = ("a", "dog", "cat", "red", "car")


def make_grounding_dino(folder):
    """Its model knows [CLS], [SEP] and the full stop by their numbers in BERT's vocabulary."""
    vocabulary = [f"[unused{number}]" for number in range(1100)]
    vocabulary[0], vocabulary[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary[1012] = "."
    vocabulary[1040 : 1040 + len(WORDS)] = WORDS
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )
    words = transformers.BertConfig(
        vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=words,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=12,
        max_text_len=32,
    )
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor = transformers.GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer)
    return transformers.GroundingDinoForObjectDetection(config).eval(), processor


def make_owl(folder, kind: str):
    """OWL-ViT or OWLv2 with the words as whole tokens."""
    names = ["!", "<|startoftext|>", "<|endoftext|>"]  # what begins with token 0 is no query to OWL
    ends = [f"{word}</w>" for word in WORDS]
    letters = sorted({letter for word in WORDS for letter in word})
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(" ".join(parts[:2]))
            parts[:2] = ["".join(parts[:2])]
    tokens = list(dict.fromkeys([*names, *letters, *(f"{x}</w>" for x in letters), *ends]))
    tokens += [part for part in (merge.replace(" ", "") for merge in merges) if part not in tokens]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(dict.fromkeys(merges)) + "\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, pad_token="!", model_max_length=16)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        text_config={"vocab_size": len(tokens), "max_position_embeddings": 16, "pad_token_id": 0, **sizes}
        | {"bos_token_id": 1, "eos_token_id": 2},
        vision_config={"image_size": 64, "patch_size": 16, **sizes},
        projection_dim=32,
    )
    images = getattr(transformers, f"{kind}ImageProcessor")(size={"height": 64, "width": 64})
    processor = getattr(transformers, f"{kind}Processor")(image_processor=images, tokenizer=tokenizer)
    return getattr(transformers, f"{kind}ForObjectDetection")(config).eval(), processor


@pytest.fixture(scope="module", params=["GroundingDino", "OwlViT", "Owlv2"])
def detector(request, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tokens")
    return make_grounding_dino(folder) if request.param == "GroundingDino" else make_owl(folder, request.param)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)


def test_boxes_in_pixels_best_first(detector, photo) -> None:
    model, processor = detector
    found = text.boxes(photo, "a dog. a red car.", model=model, processor=processor, threshold=0.0)

    assert len(found) == len(found.scores) == len(found.boxes) > 0
    assert found.boxes.shape == (len(found), 4)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, :2] <= found.boxes[:, 2:]).all()
    words = {word for label in found.labels for word in label.replace(".", " ").replace("[SEP]", " ").split()}
    assert words <= {"a", "dog", "red", "car", "object"}


@pytest.mark.parametrize(("kind", "reach"), [("OwlViT", (90, 60)), ("Owlv2", (90, 90))])
def test_where_boxes_are(photo, tmp_path, kind, reach) -> None:
    """Without weights OWL looks for boxes at the corners of its 4 x 4 cells, OWLv2 in a square around the picture."""
    model, processor = make_owl(tmp_path, kind)
    for parameter in model.box_head.dense2.parameters():
        torch.nn.init.zeros_(parameter)
    found = text.boxes(photo, "dog", model=model, processor=processor, threshold=0.0)

    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    cells = centres / reach * 4
    assert len(cells) > 10  # some scores may be 0 to the last bit
    assert np.allclose(cells, cells.round(), atol=0.01)
    assert (cells.min(), cells.max()) == pytest.approx((1, 4), abs=0.01)


def test_they_are_prompts(detector, photo) -> None:
    model, processor = detector
    found = text.boxes(photo, ["dog", "cat"], model=model, processor=processor, threshold=0.0)
    predictor = sam2.SAM2ImagePredictor(sam2.load("nano", device="cpu", dtype="float32"))
    predictor.set_image(photo)
    masks, _, _ = predictor.predict(box=found.boxes[:2], multimask_output=False)

    assert masks.shape == (2, 1, 60, 90)


def test_a_list_is_a_text_with_full_stops(detector, photo) -> None:
    model, processor = detector
    listed = text.boxes(photo, ["a dog", "cat. "], model=model, processor=processor, threshold=0.0)
    joined = text.boxes(photo, " a dog . cat", model=model, processor=processor, threshold=0.0)

    assert listed.labels == joined.labels
    assert np.array_equal(listed.boxes, joined.boxes)


def test_the_threshold_holds(detector, photo) -> None:
    model, processor = detector
    everything = text.boxes(photo, "dog", model=model, processor=processor, threshold=0.0)
    between = float(np.sort(everything.scores)[[len(everything) // 2 - 1, len(everything) // 2]].mean())
    some = text.boxes(photo, "dog", model=model, processor=processor, threshold=between)
    none = text.boxes(photo, "dog", model=model, processor=processor, threshold=1.0)

    assert some.scores.tolist() == [score for score in everything.scores.tolist() if score > between]
    assert (len(none), none.boxes.shape, none.scores.shape, none.labels) == (0, (0, 4), (0,), ())


def test_a_folder_is_loaded_once_for_many_images(detector, photo, tmp_path) -> None:
    model, processor = detector
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    text._load.cache_clear()
    known = text.boxes(photo, "dog", model=model, processor=processor, threshold=0.0)

    for _ in range(2):
        found = text.boxes(photo, "dog", model=str(tmp_path), threshold=0.0, device="cpu")
        assert np.allclose(found.boxes, known.boxes, atol=1e-3)
        assert found.labels == known.labels
    assert text._load.cache_info().misses == 1
    assert sam2.text.boxes is text.boxes  # no import of its own needed


def test_half_precision(detector, photo) -> None:
    model, processor = detector
    cast = type(model)(model.config).to(torch.bfloat16).eval()
    found = text.boxes(photo, "dog", model=cast, processor=processor, threshold=0.0)

    assert len(found) > 0
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize("nothing", ["", " . ", [], ["", "."]])
def test_a_phrase_is_needed(photo, nothing) -> None:
    with pytest.raises(ValueError, match="text must name something to look for"):
        text.boxes(photo, nothing, model=torch.nn.Identity(), processor=object())


def test_what_is_wrong_is_named(photo) -> None:
    with pytest.raises(ValueError, match="text must be a text or a list of phrases, got "):
        text.boxes(photo, ["dog", 3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"threshold must be in 0\.\.1, got 25"):
        text.boxes(photo, "dog", threshold=25)
    with pytest.raises(ValueError, match="processor must be given"):
        text.boxes(photo, "dog", model=torch.nn.Identity())


def test_offline_says_so_in_one_line_and_at_once(photo, monkeypatch, tmp_path) -> None:
    def offline(name, **options):
        raise ConnectionError("no connection\nlong advice")

    monkeypatch.setattr("huggingface_hub.model_info", offline)
    text._load.cache_clear()

    with pytest.raises(OSError, match=r"^model 'nobody/nothing-at-all' is not here .*: no connection$"):
        text.boxes(photo, "dog", model="nobody/nothing-at-all")


def test_another_kind_of_model_is_named(photo, tmp_path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="is no zero-shot detector of transformers: ") as caught:
        text.boxes(photo, "dog", model=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_without_transformers_the_extra_is_named(photo, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    text._load.cache_clear()

    with pytest.raises(ImportError, match=r"pip install 'sam2\[text\]'"):
        text.boxes(photo, "dog")
