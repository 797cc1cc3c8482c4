"""J and F of objects over time, and their means over a benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam2.eval import vos_metrics
from sam2.eval.vos_metrics import MaskQuality


@dataclass(frozen=True, slots=True)
class ClipScore:
    """One object of one clip.

    Attributes:
        clip: the name of its clip.
        obj_id: its number.
        indices: the frames that count.
        j_values, f_values: of these frames.
    """

    clip: str
    obj_id: int
    indices: tuple[int, ...]
    j_values: tuple[float, ...]
    f_values: tuple[float, ...]

    @property
    def frames(self) -> int:
        """How many frames count."""
        return len(self.indices)

    @property
    def j(self) -> float:
        """Mean J over the frames that count."""
        return float(np.mean(self.j_values))

    @property
    def f(self) -> float:
        """Mean F over the frames that count."""
        return float(np.mean(self.f_values))

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.j + self.f) / 2

    def statistics(self) -> dict[str, float]:
        """Recall and decay of J and F, as DAVIS defines them."""
        return {
            f"{name}_{what.__name__}": what(values)
            for name, values in (("j", self.j_values), ("f", self.f_values))
            for what in (vos_metrics.recall, vos_metrics.decay)
        }

    def to_row(self) -> dict[str, Any]:
        """As JSON: object, frames, J, F, J&F, statistics, and values frame by frame."""
        means = {"j_and_f": self.j_and_f, "j": self.j, "f": self.f}
        per_frame = {
            "frame": list(self.indices),
            "j": [round(v, 6) for v in self.j_values],
            "f": [round(v, 6) for v in self.f_values],
        }
        head = {"clip": self.clip, "object": self.obj_id, "frames": self.frames}
        return {**head, **means, **self.statistics(), "per_frame": per_frame}


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What came of a clip.

    Attributes:
        clip: its name.
        objects: those that have frames that count.
        tracked: frames that the tracker went through; 0 where predictions were read.
        seconds: that this took, reading frames included and measuring not.
        memory: most MB in use by the process so far (of the GPU, where there is one); None where that is not known.
        left_out: frames that count but have no prediction.
    """

    clip: str
    objects: tuple[ClipScore, ...]
    tracked: int = 0
    seconds: float = 0.0
    memory: float | None = None
    left_out: int = 0

    def to_row(self) -> dict[str, Any]:
        """As JSON that :meth:`of_row` reads."""
        objects = [
            {"object": o.obj_id, "frame": list(o.indices), "j": list(o.j_values), "f": list(o.f_values)}
            for o in self.objects
        ]
        cost = {"tracked": self.tracked, "seconds": self.seconds, "memory": self.memory, "left_out": self.left_out}
        return {"clip": self.clip, "objects": objects, **cost}

    @staticmethod
    def of_row(row: Mapping[str, Any]) -> "ClipResult":
        """The result that :meth:`to_row` wrote."""
        objects = tuple(
            ClipScore(row["clip"], o["object"], tuple(o["frame"]), tuple(o["j"]), tuple(o["f"])) for o in row["objects"]
        )
        return ClipResult(row["clip"], objects, row["tracked"], row["seconds"], row["memory"], row["left_out"])


@dataclass(frozen=True, slots=True)
class VosScores:
    """Scores of a data set, an object a row. The means are over objects."""

    objects: tuple[ClipScore, ...]

    @property
    def j(self) -> float:
        """Mean J."""
        return float(np.mean([item.j for item in self.objects]))

    @property
    def f(self) -> float:
        """Mean F."""
        return float(np.mean([item.f for item in self.objects]))

    @property
    def j_and_f(self) -> float:
        """The mean of J and F."""
        return (self.j + self.f) / 2

    def statistics(self) -> dict[str, float]:
        """Means of recall and decay of J and F."""
        rows = [item.statistics() for item in self.objects]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}

    def of_clip(self, clip: str) -> "VosScores":
        """The objects of one clip."""
        return VosScores(tuple(item for item in self.objects if item.clip == clip))

    def seen_and_unseen(
        self, categories: Mapping[tuple[str, int], str], seen: Sequence[str] | frozenset[str]
    ) -> dict[str, float]:
        """J and F of objects of seen and of unseen categories, and their mean G, as YouTube-VOS reports them.

        Empty unless there are objects of both kinds.
        """
        found: dict[str, float] = {}
        for name, wanted in (("seen", True), ("unseen", False)):
            part = [o for o in self.objects if (categories.get((o.clip, o.obj_id)) in seen) == wanted]
            if not part:
                return {}
            scores = VosScores(tuple(part))
            found.update({f"j_{name}": scores.j, f"f_{name}": scores.f})
        return {"g": float(np.mean(list(found.values()))), **found}


class ClipScorer:
    """Gathers the qualities of a clip's objects, frame by frame."""

    def __init__(self, clip: str) -> None:
        self.clip = clip
        self._found: dict[int, list[tuple[int, MaskQuality]]] = {}

    def add(self, index: int, obj_id: int, quality: MaskQuality) -> None:
        """Note the quality of an object's mask on a frame."""
        self._found.setdefault(obj_id, []).append((index, quality))

    def scores(self) -> tuple[ClipScore, ...]:
        """An object a row, by its number."""
        rows = []
        for obj_id, noted in sorted(self._found.items()):
            indices, qualities = zip(*noted, strict=True)
            js, fs = tuple(q.j for q in qualities), tuple(q.f for q in qualities)
            rows.append(ClipScore(self.clip, obj_id, tuple(indices), js, fs))
        return tuple(rows)
