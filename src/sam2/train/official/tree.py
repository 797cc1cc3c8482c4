"""A resolved tree of an official configuration that knows which of its keys have been used."""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST = 60
_NOTED = ("scratch", "dataset", "vos")

_WHY = {
    "*._partial_": "",
    "*.collate_fn*": "batches are put together in one way",
    "*.prob_to_use_*_for_eval": "validation follows the protocols of 'sam2 eval'",
    "*_for_eval": "validation follows the protocols of 'sam2 eval'",
    "trainer.data.val*": "name data to validate on by --val, or hold a share of the training data out",
    "trainer.val_epoch_freq": "run.evaluate_every counts steps",
    "trainer.mode": "validation is part of training wherever there are data for it",
    "trainer.accelerator": "the device is chosen by run.device and by the launcher",
    "trainer.cuda.*": "torch's own settings hold",
    "trainer.env_variables.*": "set them in the environment",
    "trainer.distributed.*": "Accelerate sets processes up: see 'accelerate config'",
    "trainer.logging.log_dir": "everything goes to the folder of the run",
    "trainer.logging.*": "there is one log, log.jsonl, besides run.trackers",
    "trainer.checkpoint.save_dir": "everything goes to the folder of the run",
    "trainer.checkpoint.save_freq": "run.save_every counts steps",
    "trainer.checkpoint.resume_from": "--resume goes on from the folder of the run",
    "trainer.checkpoint.*": "weights are loaded strictly, with a message that says what differs",
    "trainer.meters*": "validation follows the protocols of 'sam2 eval'",
    "launcher.*": "start several processes by 'accelerate launch --num_processes N --module sam2 train'",
    "submitit.*": "there is no scheduler of clusters here; any can run 'accelerate launch'",
    "hydra*": "there is no Hydra here",
    "defaults*": "one file is read: write out what Hydra would put together",
    "*.shuffle": "records are drawn in an order of their own every epoch",
    "*.pin_memory": "done wherever there is a GPU",
    "*.drop_last": "there is no last, smaller batch",
    "*.phases_per_epoch": "an epoch is one pass",
}
MODEL_WHY = "the model is the one that the checkpoint is of"
"""Why keys of the network do nothing where they describe no known one."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A key without a counterpart, what it was set to, and why it does nothing here ("" where that is not known)."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        value = repr(self.value)
        shown = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 4]} ..."
        return f"{self.key}: {shown}" + (f" ({self.why})" if self.why else "")


class OfficialTree:
    """A tree without references that notes which of its leaves were read, and why others are not used."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree
        self._read: set[str] = set()
        self._why: dict[str, str] = {}

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path (numbers for entries of lists), or ``default``; noted as read."""
        self._read.add(path)
        value = self._at(path)
        return default if value is _ABSENT else value

    def peek(self, path: str, default: Any = None) -> Any:
        """The same, not noted."""
        value = self._at(path)
        return default if value is _ABSENT else value

    def number(self, path: str, default: float) -> float:
        """A number; ``ValueError`` where something else is written."""
        value = self.get(path, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{path} must be a number, got {value!r}")
        return value

    def flag(self, path: str, default: bool) -> bool:
        """true or false; ``ValueError`` where something else is written."""
        value = self.get(path, default)
        if not isinstance(value, bool):
            raise ValueError(f"{path} must be true or false, got {value!r}")
        return value

    def length(self, path: str) -> int:
        """Entries of the list at ``path``; 0 where there is none."""
        value = self._at(path)
        return len(value) if isinstance(value, Sequence) and not isinstance(value, str) else 0

    def expect(self, path: str, only: Any, *, default: Any, why: str) -> None:
        """A key with one value that is supported: another one, or its absence where that means another, is noted."""
        if self.get(path, default) != only:
            self.refuse(path, why)

    def refuse(self, path: str, why: str) -> None:
        """Note that ``path`` and what is below it do nothing, and why."""
        self._read.discard(path)
        self._why[path] = why

    def take(self, path: str) -> None:
        """Note that everything at ``path`` and below has been read."""
        for leaf, _ in leaves(self._at(path), path):
            self._read.add(leaf)

    def rest(self, used: set[str]) -> Iterator[Ignored]:
        """The leaves that were not read; those that something refers to (``used``) count as read."""
        told = set()
        for leaf, value in leaves(self._tree, ""):
            above = [leaf, *_above(leaf)]
            refused = next((path for path in above if path in self._why), None)
            if refused is not None:
                if refused not in told:
                    told.add(refused)
                    yield Ignored(refused, self.peek(refused), self._why[refused])
                continue
            if any(path in self._read or path in used for path in above):
                continue
            if leaf.endswith("._target_") and any(path.startswith(above[1] + ".") for path in self._read):
                continue  # the class of something that was read
            why = next((text for pattern, text in _WHY.items() if fnmatch.fnmatch(leaf, pattern)), None)
            if why != "":
                yield Ignored(leaf, value, why or _why_not(leaf))
        for path, why in self._why.items():
            if self._at(path) is _ABSENT:
                yield Ignored(path, None, f"absent; {why}")

    def _at(self, path: str) -> Any:
        node: Any = self._tree
        for key in path.split("."):
            if isinstance(node, Mapping) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                return _ABSENT
        return node


_ABSENT = object()


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Dotted paths of all plain values below ``value``, and of empty lists and mappings."""
    items: Iterator[tuple[Any, Any]] | None = None
    if isinstance(value, Mapping) and value:
        items = iter(value.items())
    elif isinstance(value, list) and value:
        items = iter(enumerate(value))
    if items is None:
        if value is not _ABSENT:
            yield path, value
        return
    for key, item in items:
        yield from leaves(item, f"{path}.{key}" if path else str(key))


def _above(path: str) -> Iterator[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _why_not(leaf: str) -> str:
    if leaf.split(".")[0] in _NOTED:
        return "nothing refers to it"
    if leaf.startswith("trainer.model."):
        return MODEL_WHY
    return ""
