"""docs/training.md says what the configuration says, and speaks of recipes that there are."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from sam2.train.config import read_config, recipe_names
from sam2.train.optim import OptimConfig

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def updater() -> ModuleType:
    """docs/update_training.py."""
    specification = importlib.util.spec_from_file_location("update_training", ROOT / "docs" / "update_training.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tables_are_up_to_date(updater: ModuleType) -> None:
    assert updater.updated(PAGE) == PAGE, "run: python docs/update_training.py"


def test_a_table_has_every_option_its_default_and_meaning(updater: ModuleType) -> None:
    rows = updater.table(OptimConfig).splitlines()
    assert "| `learning_rate` | `5e-06` | of everything but the image encoder. |" in rows
    assert len(rows) == 2 + len(OptimConfig.__dataclass_fields__)


def test_every_recipe_is_on_the_page() -> None:
    assert [name for name in recipe_names() if f"`{name}`" not in PAGE] == []


def test_the_example_file_is_read(tmp_path: Path) -> None:
    example = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("# mine.yaml"))
    (tmp_path / "mine.yaml").write_text(example)
    config = read_config(tmp_path / "mine.yaml")
    assert (config.data.train[0].weight, config.data.image_size, config.run.steps) == (2.0, 768, 4000)
