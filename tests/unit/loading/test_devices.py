"""Choosing a device and a precision."""

import warnings

import pytest
import torch

from sam2.loading import devices
from sam2.loading.devices import has_native_bf16, resolve_device, resolve_dtype

CPU = torch.device("cpu")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@no_cuda
def test_cuda_without_cuda_warns_once_and_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_warned_about", set())

    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert resolve_device("cuda") == CPU
    assert resolve_device("cuda:1") == CPU  # a second warning would be an error
    assert resolve_device(torch.device("cuda")) == CPU


@no_cuda
def test_none_picks_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_device(None).type in ("cpu", "mps", "xpu")


def test_asking_for_the_cpu_asks_no_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched() -> bool:
        raise AssertionError("CUDA was asked")

    monkeypatch.setattr(torch.cuda, "is_available", touched)

    assert resolve_device("cpu") == CPU
    assert not isinstance(has_native_bf16(CPU), torch.Tensor)


@pytest.mark.parametrize("device", ["gpu", 3.5, "cpu:x"])
def test_refuses_what_is_no_device(device: object) -> None:
    with pytest.raises(ValueError, match="device must be a torch device"):
        resolve_device(device)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has one")
def test_refuses_a_device_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="'mps' is not available"):
        resolve_device("mps")


def test_refuses_a_card_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    with pytest.raises(ValueError, match=r"'cuda:7' is not there: this machine has 1"):
        resolve_device("cuda:7")


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (None, torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        (torch.float16, torch.float16),
    ],
)
def test_precision(dtype: object, expected: torch.dtype) -> None:
    assert resolve_dtype(dtype, CPU) == expected


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_it_is_native(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)

    assert resolve_dtype("auto", CPU) == (torch.bfloat16 if native else torch.float32)


def test_auto_is_float32_where_torch_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)

    assert resolve_dtype("auto", CPU) == torch.float32


@pytest.mark.parametrize(("capability", "native"), [((8, 0), True), ((9, 0), True), ((7, 5), False)])
def test_cuda_computes_bf16_from_sm80_on(
    capability: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert has_native_bf16(torch.device("cuda")) is native


@pytest.mark.parametrize("dtype", ["int8", "fp32", torch.int8, 16])
def test_refuses_another_precision(dtype: object) -> None:
    with pytest.raises(ValueError, match="dtype must be 'auto'"):
        resolve_dtype(dtype, CPU)
