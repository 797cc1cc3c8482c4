"""Loading the model of a command."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base


def load_model(name: str, *, device: str | None, dtype: str) -> "SAM2Base":
    """The model, as :func:`sam2.load` gives it; this process keeps freed memory from now on, which is faster.

    Raises:
        ValueError, FileNotFoundError, OSError: there is no such model, or it cannot be loaded.
    """
    import sam2
    from sam2.utils.allocator import keep_freed_memory

    keep_freed_memory()
    return sam2.load(name, device=device, dtype=dtype)
