import platform
import subprocess
import sys

from sam2.utils.allocator import give_back_freed_memory

CODE = """
import resource, torch
from sam2.utils.allocator import keep_freed_memory
done = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(done, faults())
"""


def test_freed_memory_is_used_again_where_the_library_can_be_told() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=True)

    done, faults = result.stdout.split()
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        assert done == "True"
        assert int(faults) < 4096  # a page each of one tensor of 16 MB, not of twenty
    else:
        assert done == "False"


TRIM = """
import numpy as np
from pathlib import Path
from sam2.utils.allocator import give_back_freed_memory, keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
keep_freed_memory()
pieces = [np.ones(2**17) for _ in range(200)]
del pieces[::2]  # between pieces that are still there
before = resident()
print(give_back_freed_memory(), before - resident())
"""


def test_freed_memory_is_given_back() -> None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        assert not give_back_freed_memory()
        return
    result = subprocess.run([sys.executable, "-c", TRIM], capture_output=True, text=True, timeout=120, check=True)

    done, given = result.stdout.split()
    assert done == "True"
    assert int(given) > 80 * 2**20  # of a hundred pieces of a megabyte
