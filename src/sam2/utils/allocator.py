"""How the C library of Linux treats the memory that tensors leave."""

import ctypes
import platform

# Of glibc's malloc.h. The first is the most that glibc takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_FROM_HEAP = 32 * 2**20
_KEPT = 512 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep up to 512 MB of freed memory, for the next frame; whether that could be arranged.

    By default glibc gives large maps back to the system and gets them anew, zeroed page by page, on each frame: of
    nano's frames on CPUs that is a quarter of the time. The command line calls this when it loads a model. In a program
    of your own it is yours to call, once, as it holds for the whole process; elsewhere than on Linux it does nothing.
    """
    libc = _glibc()
    if libc is None:
        return False
    # In this order: setting either ends glibc's own adjustment of both.
    large = bool(libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP))
    return bool(libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)) and large


def give_back_freed_memory() -> bool:
    """Give freed memory back to the system, whatever was kept; whether that could be arranged.

    For long runs over pictures of many sizes: what each leaves behind seldom fits the next, so that what is kept gets
    ever more. A few times a minute this costs nothing that can be measured. Elsewhere than on Linux it does nothing.
    """
    libc = _glibc()
    if libc is None:
        return False
    libc.malloc_trim(0)
    return True


def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
