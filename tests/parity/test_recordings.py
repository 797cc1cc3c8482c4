"""What the official package gave on seeded weights, against what this one gives: see ``conformance/README.md``."""

from pathlib import Path

import pytest
from cases import all_cases
from run import check

RECORDINGS = Path(__file__).parent / "conformance" / "recordings"
SEED = 5
QUICK = ("image_t", "image_t20", "image_prompts")


def _recorded() -> list[pytest.param]:
    names = sorted(path.name.removesuffix(f".{SEED}.npz") for path in RECORDINGS.glob(f"*.{SEED}.npz"))
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("case", _recorded())
# The cases leave the folders of their clips to the garbage collector.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
@pytest.mark.filterwarnings("ignore:.*random weights.*")
def test_recording(case: str) -> None:
    holds, text = check(RECORDINGS / f"{case}.{SEED}.npz", all_cases(SEED)[case])

    assert holds, text


def test_every_case_is_recorded() -> None:
    recorded = {param.values[0] for param in _recorded()}

    assert recorded == set(all_cases(SEED))
