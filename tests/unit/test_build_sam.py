"""The official builders and the short way."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

import sam2
from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES, build_sam2, build_sam2_hf, load_pretrained
from sam2.loading import devices
from sam2.loading.locate import find_config
from sam2.modeling.build import build_model
from sam2.modeling.config import NANO
from sam2.modeling.sam2_base import SAM2Base

NANO_CONFIG = "configs/nano/nano.yaml"
ignore_random_weights = pytest.mark.filterwarnings("ignore:.*random weights")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official-style checkpoint of nano with random weights."""
    path = tmp_path_factory.mktemp("weights") / "nano.pt"
    torch.save({"model": build_model(NANO).state_dict()}, path)
    return path


@pytest.fixture
def nano_in_cache(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The name ``nano`` stands for the random weights."""
    monkeypatch.setattr("sam2.loading.resolve.download", lambda name: weights)
    return weights


def same_weights(model: SAM2Base, path: Path) -> bool:
    expected = torch.load(path, weights_only=True)["model"]
    return all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_the_official_call(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_warned_about", set())
    if torch.cuda.is_available():
        model = build_sam2(NANO_CONFIG, weights)
    else:
        with pytest.warns(UserWarning, match="CUDA is not available") as caught:
            model = build_sam2(NANO_CONFIG, weights)
        assert len(caught) == 1
        assert caught[0].filename == __file__

    assert same_weights(model.cpu(), weights)
    assert model.compute_dtype == torch.float32
    assert not model.training


@pytest.mark.parametrize("config", ["path", "mapping", "model", "name"])
def test_every_way_to_say_the_configuration(config: str, weights: Path, tmp_path: Path) -> None:
    tree = find_config(NANO_CONFIG)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(tree))
    forms = {"path": path, "mapping": tree, "model": tree["model"], "name": "nano"}

    assert same_weights(build_sam2(forms[config], weights, "cpu"), weights)


def test_no_checkpoint_warns_once_and_gives_random_weights() -> None:
    with pytest.warns(UserWarning, match="random weights") as caught:
        build_sam2(NANO_CONFIG, None, device="cpu")
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_mode(weights: Path) -> None:
    assert build_sam2(NANO_CONFIG, weights, "cpu", "train").training
    with pytest.raises(ValueError, match="mode must be 'eval' or 'train', got 'test'"):
        build_sam2(NANO_CONFIG, weights, "cpu", "test")


def test_overrides(weights: Path) -> None:
    model = build_sam2(NANO_CONFIG, weights, "cpu", hydra_overrides_extra=["++model.image_size=256"])

    assert model.image_size == 256
    assert same_weights(model, weights)


@pytest.mark.parametrize("wanted", [True, False])
def test_postprocessing(wanted: bool, weights: Path) -> None:
    model = build_sam2(NANO_CONFIG, weights, "cpu", apply_postprocessing=wanted)

    assert model.behaviour.dynamic_multimask_via_stability is wanted
    assert model.sam_mask_decoder.dynamic_multimask_via_stability is wanted
    assert model.behaviour.fill_hole_area == 0


def test_postprocessing_wins_over_overrides_as_officially(weights: Path) -> None:
    override = "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.5"

    model = build_sam2(NANO_CONFIG, weights, "cpu", hydra_overrides_extra=[override])
    plain = build_sam2(NANO_CONFIG, weights, "cpu", hydra_overrides_extra=[override], apply_postprocessing=False)

    assert model.behaviour.dynamic_multimask_stability_thresh == 0.98
    assert plain.behaviour.dynamic_multimask_stability_thresh == 0.5


def test_dtype(weights: Path) -> None:
    model = build_sam2(NANO_CONFIG, weights, "cpu", dtype="bfloat16")

    assert model.compute_dtype == torch.bfloat16
    assert next(model.sam_prompt_encoder.parameters()).dtype == torch.float32


def test_unknown_arguments_are_said_to_do_nothing(weights: Path) -> None:
    with pytest.warns(UserWarning, match="build_sam2 ignores unknown arguments: imagesize"):
        build_sam2(NANO_CONFIG, weights, "cpu", imagesize=3)


def test_a_checkpoint_of_another_model(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"this checkpoint is SAM 2 nano, the config is SAM 2\.1 tiny"):
        build_sam2("sam2.1_hiera_t.yaml", weights, "cpu")


def test_skipping_initialisation_leaves_computed_buffers_alone(weights: Path) -> None:
    reference = dict(build_model(NANO).named_buffers())
    model = build_sam2(NANO_CONFIG, weights, "cpu")

    for name, buffer in model.named_buffers():
        if name not in model.state_dict():
            assert torch.equal(buffer, reference[name]), name


@pytest.mark.parametrize("build", [sam2.load, build_sam2_hf, load_pretrained])
def test_by_name(build: object, nano_in_cache: Path) -> None:
    model = build("nano", device="cpu", dtype="float32")

    assert same_weights(model, nano_in_cache)
    assert not model.training


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_by_file(suffix: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    state_dict = torch.load(weights, weights_only=True)["model"]
    save_file(state_dict, path) if suffix == ".safetensors" else torch.save(state_dict, path)

    model = sam2.load(path, device="cpu", dtype=torch.float32)

    assert model.config == NANO
    assert same_weights(model, weights)


def test_hub_options_reach_the_model(nano_in_cache: Path) -> None:
    model = build_sam2_hf("nano", device="cpu", mode="train", hydra_overrides_extra=["++model.image_size=256"])

    assert model.training
    assert model.image_size == 256
    with pytest.warns(UserWarning, match="build_sam2_hf ignores unknown arguments: x"):
        build_sam2_hf("nano", device="cpu", x=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "int8"}, "dtype must be"), ({"device": "gpu"}, "device must be"), ({"mode": "x"}, "mode must be")],
)
def test_arguments_are_checked_before_anything_is_downloaded(
    options: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(name: str) -> Path:
        raise AssertionError(f"{name} was downloaded")

    monkeypatch.setattr("sam2.loading.resolve.download", download)

    with pytest.raises(ValueError, match=message):
        load_pretrained("sam2.1_hiera_large", **options)


@ignore_random_weights
def test_building_for_the_cpu_touches_no_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("CUDA was asked for")

    for name in ("is_available", "device_count", "current_device", "get_device_capability", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, touched)

    build_sam2(NANO_CONFIG, None, device="cpu")


# ---- the package's front door


def run_python(code: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_load_gives_sessions_the_masks_of_the_video_predictor() -> None:
    behaviour = sam2.load("nano").behaviour

    assert behaviour == sam2.SAM2VideoPredictor.from_pretrained("nano").behaviour
    assert behaviour.fill_hole_area == 8


def test_importing_is_light_and_works_from_any_folder(tmp_path: Path) -> None:
    code = "import sam2, sys; print(sam2.__version__, 'torch' in sys.modules, 'numpy' in sys.modules)"

    assert run_python(code, tmp_path) == f"{sam2.__version__} False False"


def test_names_are_found_on_first_use() -> None:
    assert {"load", "build_sam2", "build_sam2_hf", "SAM2ImagePredictor", "__version__"} <= set(dir(sam2))
    assert sam2.build_sam2 is build_sam2
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sam2.nothing


def test_official_hub_ids_are_known_with_their_configuration_and_file() -> None:
    assert len(HF_MODEL_ID_TO_FILENAMES) == 8
    assert HF_MODEL_ID_TO_FILENAMES["facebook/sam2-hiera-base-plus"] == (
        "configs/sam2/sam2_hiera_b+.yaml",
        "sam2_hiera_base_plus.pt",
    )
    for hub_id, (config, file) in HF_MODEL_ID_TO_FILENAMES.items():
        assert find_config(hub_id) == find_config(config)
        assert file == f"{hub_id.removeprefix('facebook/').replace('-', '_')}.pt"
