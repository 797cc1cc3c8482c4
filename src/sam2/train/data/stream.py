"""Endless batches of clips, drawn in worker processes: what a batch holds follows from its number alone."""

import itertools
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sam2.train.data.clip import BadSample, ClipBatch, ClipSample, collate
from sam2.train.data.config import AugmentConfig, DataConfig
from sam2.train.data.drawing import ClipDrawer, UnreadableRecordError
from sam2.train.data.opening import JoinedRecords, TrainSource, open_training, split_records
from sam2.train.data.order import Draw, SampleOrder, SourceSize

__all__ = ["AugmentConfig", "DataConfig", "TrainStream", "open_training", "split_records"]


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a worker yields in place of a batch when it cannot go on."""

    message: str


class TrainStream:
    """Batches of training clips, numbered from 0.

    Batch m of a process is a function of the configuration, the seed, m, the process's rank and their number. All
    processes together get in micro-step m exactly the samples, with the same seeds, that one process with as many times
    the batch size gets: rank 0 the first of them, rank 1 the next. Nothing depends on the number of workers.

    Args:
        config: what to draw.
        seed: not negative.
        rank, world_size: of this process, and how many there are.
        sources: those of ``config``, where they are open already.

    Raises:
        FileNotFoundError, ValueError: a source cannot be opened; see :func:`open_training`.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        sources: Sequence[TrainSource] | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be within 0 to {world_size - 1}, got {rank}")
        self.config, self.seed, self.rank, self.world_size = config, seed, rank, world_size
        self.sources = tuple(open_training(config)[0] if sources is None else sources)
        self._bad: dict[BadSample, None] = {}
        self._batches = _Batches(config, self.sources, seed=seed, rank=rank, world_size=world_size)

    def drawn_by(self, drawer: ClipDrawer, sources: Sequence[TrainSource]) -> "TrainStream":
        """The same stream with its samples drawn by ``drawer``, of other forms of the same ``sources``."""
        stream = TrainStream(self.config, seed=self.seed, rank=self.rank, world_size=self.world_size, sources=sources)
        stream._batches.drawer = drawer
        return stream

    @property
    def steps_per_epoch(self) -> int:
        """Micro-steps in which every record is drawn as often as its source's weight says."""
        return self._batches.order.steps_per_epoch

    @property
    def bad_samples(self) -> tuple[BadSample, ...]:
        """The records that were skipped so far, each once."""
        return tuple(self._bad)

    def batches(self, first_step: int = 0) -> Iterator[ClipBatch]:
        """Batches number ``first_step``, ``first_step`` + 1, ... for ever.

        A sample that cannot be read is replaced by the next one of its source, and named in a warning, once.

        Raises:
            RuntimeError: more than ``bad_samples`` of them, or all of a source; names the last file and its cause.
        """
        workers = self.config.workers
        loader = DataLoader(
            self._batches.starting_at(first_step),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=self.config.prefetch if workers else None,
            pin_memory=torch.cuda.is_available(),
        )
        for batch in loader:
            if isinstance(batch, _Failure):
                raise RuntimeError(batch.message)
            self._count(batch.bad)
            yield batch

    def _count(self, skipped: tuple[BadSample, ...]) -> None:
        for bad in skipped:
            if bad in self._bad:
                continue
            self._bad[bad] = None
            warnings.warn(f"skipped {bad.name}: {bad.cause}", stacklevel=3)
            if len(self._bad) > self.config.bad_samples:
                raise RuntimeError(_over_budget(self.config.bad_samples, bad))


class _Batches(IterableDataset):
    """What a worker holds: a few numbers, and the records."""

    def __init__(
        self, config: DataConfig, sources: tuple[TrainSource, ...], *, seed: int, rank: int, world_size: int
    ) -> None:
        self.config, self.sources = config, sources
        self.rank, self.world_size, self.first = rank, world_size, 0
        sizes = [
            SourceSize(len(source.records), source.config.weight, lengths_of(config, source)) for source in sources
        ]
        batch = {frames: self._own_size(frames) * world_size for size in sizes for frames in size.lengths}
        self.order = SampleOrder(sizes, batch, seed=seed)
        self.drawer = ClipDrawer(config, JoinedRecords([source.records for source in sources]))

    def starting_at(self, first: int) -> "_Batches":
        """The same from batch ``first`` on."""
        copy = object.__new__(_Batches)
        copy.__dict__.update(self.__dict__, first=first)
        return copy

    def __iter__(self) -> Iterator[ClipBatch | _Failure]:
        info = get_worker_info()
        if info is not None:
            cv2.setNumThreads(0)
            _leave_signals_to_the_run()
        # The loader takes one batch of each worker in turn.
        for number in itertools.count(self.first + (info.id if info else 0), info.num_workers if info else 1):
            yield self._draw(number)

    def _draw(self, number: int) -> ClipBatch | _Failure:
        step = self.order.step(number)
        own = self._own_size(step.frames)
        draws = step.draws[self.rank * own : (self.rank + 1) * own]
        samples = []
        for draw in draws:
            sample = self._draw_good(draw, step.frames)
            if isinstance(sample, _Failure):
                return sample
            samples.append(sample)
        return collate(samples, step_seed=step.step_seed)

    def _draw_good(self, draw: Draw, frames: int) -> ClipSample | _Failure:
        """The sample, or that of the first record after it that can be read."""
        source, budget = self.sources[draw.source], self.config.bad_samples
        bad: list[BadSample] = []
        for skip in range(len(source.records)):
            record = source.records[(draw.record + skip) % len(source.records)]
            try:
                sample = self.drawer.draw(record, frames=frames, seed=draw.seed)
                return replace(sample, bad=tuple(bad)) if bad else sample
            except UnreadableRecordError as error:
                bad.append(BadSample(error.name, error.cause))
            if len(set(bad)) > budget:
                return _Failure(_over_budget(budget, bad[-1]))
        return _Failure(f"all samples of {source.config.title} are bad; the last, {bad[-1].name}: {bad[-1].cause}")

    def _own_size(self, frames: int) -> int:
        """Samples of this process in a micro-step of ``frames`` frames."""
        config = self.config
        return config.batch_size if frames > 1 else config.still_batch_size or config.batch_size


def lengths_of(config: DataConfig, source: TrainSource) -> dict[int, float]:
    """T of what is drawn from a source, and in which shares."""
    if source.config.frames is not None:
        return {source.config.frames: 1.0}
    if source.videos or config.frames == 1:
        return {config.frames: 1.0}
    shares = {1: 1 - config.stills_as_clips, config.frames: config.stills_as_clips}
    return {frames: share for frames, share in shares.items() if share}


def _over_budget(budget: int, last: BadSample) -> str:
    return f"more than {budget} bad samples (bad_samples); the last, {last.name}: {last.cause}"


def _leave_signals_to_the_run() -> None:
    """Ctrl-C reaches every process of a terminal; the run needs its workers until it has stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
