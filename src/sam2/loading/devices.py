"""Where a model runs and in which precision: one answer for every entry point."""

import warnings

import torch

DeviceLike = str | torch.device | None
DtypeLike = str | torch.dtype | None

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_warned_about: set[str] = set()


def resolve_device(device: DeviceLike) -> torch.device:
    """The device to use; None picks cuda, mps, xpu, cpu, in that order.

    ``"cuda"`` on a machine without CUDA gives the CPU, with one warning per process: it is the official default, and
    code written for a GPU should run everywhere. Asking for the CPU initialises no other device.

    Raises:
        ValueError: the device is not one that torch knows, or is not there (``"mps"`` off a Mac, ``"cuda:7"``).
    """
    if device is None:
        return _best_device()
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be a torch device such as 'cpu' or 'cuda:0', got {device!r}") from error
    if chosen.type in ("cpu", "meta"):
        return chosen
    if chosen.type == "cuda" and not torch.cuda.is_available():
        _warn_once("cuda", "CUDA is not available: the model runs on the CPU. Pass device=None to pick silently.")
        return torch.device("cpu")
    if not _is_available(chosen.type):
        raise ValueError(f"device {str(chosen)!r} is not available on this machine")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device {str(chosen)!r} is not there: this machine has {count} CUDA device(s)")
    return chosen


def resolve_dtype(dtype: DtypeLike, device: torch.device) -> torch.dtype:
    """The precision to compute in; None is float32, ``"auto"`` bfloat16 where ``device`` computes it natively.

    Raises:
        ValueError: not ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"`` or the torch dtype of one of these.
    """
    if dtype is None:
        return torch.float32
    if dtype == "auto":
        return torch.bfloat16 if has_native_bf16(device) else torch.float32
    if isinstance(dtype, str) and dtype in _DTYPES:
        return _DTYPES[dtype]
    if isinstance(dtype, torch.dtype) and dtype in _DTYPES.values():
        return dtype
    raise ValueError(f"dtype must be 'auto', {', '.join(map(repr, _DTYPES))} or the torch dtype, got {dtype!r}")


def has_native_bf16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 in hardware: CUDA from sm80 on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Private, and absent from some versions: a CPU that cannot be asked computes in float32.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in probes)
    return False


def _best_device() -> torch.device:
    for kind in ("cuda", "mps", "xpu"):
        if _is_available(kind):
            return torch.device(kind)
    return torch.device("cpu")


def _is_available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    return module is not None and hasattr(module, "is_available") and bool(module.is_available())


def _warn_once(topic: str, message: str) -> None:
    if topic not in _warned_about:
        _warned_about.add(topic)
        warnings.warn(message, stacklevel=5)
