"""Hydra's override strings, without Hydra."""

import pytest

from sam2.loading.overrides import apply_overrides, parse_override

TREE = {"model": {"image_size": 1024, "scalp": None, "layer": {"feat_sizes": [64, 64]}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("++a.b=512", 512),
        ("++a.b=true", True),
        ("++a.b=0.98", 0.98),
        ("++a.b=1e-6", 1e-6),
        ("++a.b=null", None),
        ("++a.b=[32,32]", [32, 32]),
        ("++a.b={x:1,y:2}", {"x": 1, "y": 2}),
        ("++a.b='1'", "1"),
        ("++a.b=sam2.sam2_video_predictor.SAM2VideoPredictor", "sam2.sam2_video_predictor.SAM2VideoPredictor"),
        ("++a.b=", ""),
        (" ++a.b = x".replace(" = ", "="), "x"),
    ],
)
def test_values_are_read_as_hydra_reads_them(text: str, value: object) -> None:
    override = parse_override(text)

    assert (override.prefix, override.path, override.value) == ("++", ("a", "b"), value)


def test_changes_adds_and_deletes() -> None:
    changed = apply_overrides(
        TREE,
        ["model.image_size=512", "+model.new.deep=1", "++model.layer.feat_sizes=[32,32]", "~model.scalp"],
    )

    assert changed == {"model": {"image_size": 512, "new": {"deep": 1}, "layer": {"feat_sizes": [32, 32]}}}


def test_leaves_the_original_alone() -> None:
    apply_overrides(TREE, ["++model.layer.feat_sizes=[1,1]"])

    assert TREE["model"]["layer"] == {"feat_sizes": [64, 64]}


def test_later_overrides_win() -> None:
    assert apply_overrides(TREE, ["++model.image_size=1", "++model.image_size=2"])["model"]["image_size"] == 2


def test_takes_the_list_that_overrides_become_in_a_config_file() -> None:
    assert apply_overrides(TREE, ("++model.image_size=256",))["model"]["image_size"] == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.imag_size=3", "no key 'model.imag_size'; did you mean 'image_size'"),
        ("~model.nothing", "no key 'model.nothing'"),
        ("model.nowhere.deep=3", "no key 'model.nowhere'"),
        ("++model.image_size.deep=3", "model.image_size is 1024, no section"),
        ("+model.image_size=3", "is there already"),
        ("model.image_size", "not of the form"),
        ("++=3", "not of the form"),
        ("++model.image_size=[1", "cannot be read"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_overrides(TREE, [text])


@pytest.mark.parametrize("overrides", ["++model.image_size=3", [3], [("model.image_size", 3)]])
def test_refuses_what_are_no_strings_in_a_list(overrides: object) -> None:
    with pytest.raises(TypeError, match="hydra_overrides_extra"):
        apply_overrides(TREE, overrides)
