"""Checkpoint files: finding, reading, recognising and loading them."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sam2.checkpoints import (
    CHECKPOINTS,
    Checkpoint,
    cache_dir,
    download,
    find_local,
    load_strict,
    read_checkpoint,
    recognise,
)
from sam2.loading import registry
from sam2.modeling.build import build_model
from sam2.modeling.config import PRESETS


@pytest.fixture(scope="module")
def nano() -> dict[str, Tensor]:
    """Random weights of nano, to be left as they are."""
    return build_model(PRESETS["nano"]).state_dict()


def meta_state_dict(name: str) -> dict[str, Tensor]:
    """Names and shapes of a preset, without memory."""
    with torch.device("meta"):
        return build_model(PRESETS[name]).state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---- the registry


def test_every_preset_has_a_checkpoint() -> None:
    assert set(CHECKPOINTS) == set(PRESETS)


def test_official_entries_are_complete() -> None:
    for entry in CHECKPOINTS.values():
        if entry.name == "nano":
            continue
        folder = "092824" if entry.name.startswith("sam2.1") else "072824"
        assert entry.url == f"https://dl.fbaipublicfiles.com/segment_anything_2/{folder}/{entry.name}.pt"
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256 or "")
        payload = 4 * sum(value.numel() for value in meta_state_dict(entry.name).values())
        assert 0 < (entry.size or 0) - payload < 400_000  # the rest is the zip file's directory


def test_hub_ids() -> None:
    assert CHECKPOINTS["sam2.1_hiera_base_plus"].hub_id == "facebook/sam2.1-hiera-base-plus"
    assert CHECKPOINTS["nano"].hub_id is None


# ---- where files are


def test_the_cache_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM2_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path


@pytest.mark.parametrize(
    ("platform", "tail"), [("linux", ".cache/sam2"), ("darwin", "Library/Caches/sam2"), ("win32", "sam2/cache")]
)
def test_the_cache_is_where_the_platform_keeps_caches(
    platform: str, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SAM2_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(registry.sys, "platform", platform)

    assert cache_dir().as_posix().endswith(tail)


@pytest.mark.parametrize("place", ["cache", "checkpoints", "torch", "hub"])
def test_finds_files_of_the_right_size(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = {
        "cache": cache_dir(),
        "checkpoints": Path("checkpoints"),
        "torch": Path(torch.hub.get_dir()) / "checkpoints",
        "hub": tmp_path / "hf_home" / "hub" / "models--facebook--sam2.1-hiera-tiny" / "snapshots" / "abc",
    }[place]
    entry = Checkpoint("sam2.1_hiera_tiny", "sam2.1_hiera_tiny.pt", "https://nowhere.invalid/", 10, "00")
    monkeypatch.setitem(CHECKPOINTS, "sam2.1_hiera_tiny", entry)
    folder.mkdir(parents=True)
    path = folder / entry.filename
    path.write_bytes(bytes(9))
    assert find_local("sam2.1_hiera_tiny") is None

    path.write_bytes(bytes(10))

    assert find_local("sam2.1_hiera_tiny") == path
    assert download("sam2.1_hiera_tiny") == path


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no checkpoint 'sam3'; known are: nano, sam2.1_hiera_tiny"):
        download("sam3")


def test_downloads_to_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []

    def fetch(url: str, destination: Path, **options: object) -> Path:
        calls.append((url, destination, options["size"], options["sha256"]))
        return destination

    monkeypatch.setattr(registry, "fetch", fetch)
    entry = CHECKPOINTS["sam2_hiera_small"]

    assert download("sam2_hiera_small") == cache_dir() / "sam2_hiera_small.pt"
    assert calls == [(entry.url, cache_dir() / entry.filename, entry.size, entry.sha256)]


# ---- reading


def test_reads_what_torch_saves(nano: dict[str, Tensor], tmp_path: Path) -> None:
    forms = {
        "official": {"model": nano},
        "training": {"model": nano, "optimizer": {"state": {}}, "epoch": 3, "loss": {"a": 1.0}, "steps": {"train": 4}},
        "lightning": {"state_dict": nano},
        "plain": nano,
        "wrapped": {"model": {f"module.{key}": value for key, value in nano.items()}},
    }
    for form, content in forms.items():
        path = tmp_path / f"{form}.pt"
        torch.save(content, path)
        assert same(read_checkpoint(path), nano), form


def test_reads_safetensors(nano: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "nano.safetensors"
    save_file(nano, path)

    assert same(read_checkpoint(str(path)), nano)


def test_reads_the_layer_scale_under_its_other_name(nano: dict[str, Tensor], tmp_path: Path) -> None:
    renamed = {re.sub(r"(fuser\.layers\.\d+)\.gamma", r"\1.weight", key): value for key, value in nano.items()}
    assert renamed.keys() != nano.keys()
    torch.save({"model": renamed}, tmp_path / "renamed.pt")

    assert same(read_checkpoint(tmp_path / "renamed.pt"), nano)


class Payload:
    """An object that a checkpoint should not hold."""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\x00\x01not a checkpoint at all" * 50, "corrupt|no checkpoint"),
        (b"hello\n", r"no checkpoint$|no safetensors"),
    ],
)
def test_says_what_the_file_is_instead(content: bytes, message: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_file(nano: dict[str, Tensor], suffix: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    save_file(nano, path) if suffix == ".safetensors" else torch.save({"model": nano}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_checkpoint(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint file .*gone\.pt"):
        read_checkpoint(tmp_path / "gone.pt")


@pytest.mark.parametrize("content", [{"model": {}}, {"weights": 3}, [1, 2], {"model": {"a": 1}}])
def test_a_file_without_a_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pt")

    with pytest.raises(ValueError, match="holds no state dict"):
        read_checkpoint(tmp_path / "odd.pt")


def test_unpickles_nothing_but_tensors(nano: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": nano, "args": Payload()}, tmp_path / "objects.pt")

    with pytest.raises(ValueError, match="Python objects besides tensors"):
        read_checkpoint(tmp_path / "objects.pt")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("vision_encoder.backbone.pos_embed", "format of transformers"),
        ("image_encoder.patch_embed.proj.weight", "first Segment Anything"),
    ],
)
def test_checkpoints_of_relatives(key: str, message: str, tmp_path: Path) -> None:
    torch.save({key: torch.zeros(3)}, tmp_path / "relative.pt")

    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "relative.pt")


# ---- recognising


@pytest.mark.parametrize("name", PRESETS)
def test_recognises_every_preset(name: str) -> None:
    assert recognise(meta_state_dict(name)) == PRESETS[name]


def test_recognises_nothing_in_other_weights() -> None:
    with pytest.raises(ValueError, match="the checkpoint is not a SAM 2 checkpoint"):
        recognise({"conv1.weight": torch.zeros(3)})


def test_an_unknown_size() -> None:
    state_dict = {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(48, 3, 7, 7)}

    with pytest.raises(ValueError, match=r"mine.pt is a SAM 2 of no known size: 48 channels and 0 blocks"):
        recognise(state_dict, source="mine.pt")


# ---- loading


def test_loads_bit_for_bit(nano: dict[str, Tensor]) -> None:
    model = build_model(PRESETS["nano"])

    load_strict(model, nano)

    assert same(dict(model.state_dict()), nano)


def test_half_precision_weights_become_float32(nano: dict[str, Tensor]) -> None:
    model = build_model(PRESETS["nano"])

    load_strict(model, {key: value.half() for key, value in nano.items()})

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.no_mem_embed, nano["no_mem_embed"].half().float())


def test_another_model_is_named(nano: dict[str, Tensor]) -> None:
    model = build_model(PRESETS["nano"])

    with pytest.raises(
        ValueError, match=r"x\.pt does not fit: this checkpoint is SAM 2.1 large, the config is SAM 2 nano"
    ):
        load_strict(model, meta_state_dict("sam2.1_hiera_large"), source="x.pt")


def test_differences_are_listed_in_short(nano: dict[str, Tensor]) -> None:
    model = build_model(PRESETS["nano"])
    before = model.no_mem_embed.clone()
    missing = [key for key in nano if key.startswith("sam_mask_decoder")]
    changed = {key: value for key, value in nano.items() if key not in missing}
    changed |= {"surprise": torch.zeros(1), "no_obj_ptr": torch.zeros(2, 128), "no_mem_embed": torch.ones(1, 1, 128)}

    with pytest.raises(ValueError, match="does not fit") as caught:
        load_strict(model, changed)

    message = str(caught.value)
    assert f"{len(missing)} missing: {missing[0]}" in message
    assert f"and {len(missing) - 5} more" in message
    assert "1 unexpected: surprise" in message
    assert "1 of another shape: no_obj_ptr (2, 128) instead of (1, 128)" in message
    assert len(message) < 600
    assert torch.equal(model.no_mem_embed, before)  # nothing was copied
