"""Decoder-only training: the image encoder sees each sample once, and training reads what it said from disk.

A sample is a record in one of a few fixed views: the first as it is, others augmented. Its objects, prompts and losses
are those of any training. Per frame of 1024 px an official model's maps take 8.4 MB in half precision (stride 16, and
strides 4 and 8 as the decoder's first two convolutions leave them, which are frozen with the encoder for that).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sam2.modeling.sam2_base import SAM2Base
from sam2.train.data.clip import ClipSample, mixed_seed
from sam2.train.data.config import NO_AUGMENTATION, DataConfig
from sam2.train.data.drawing import ClipDrawer, UnreadableRecordError
from sam2.train.data.opening import JoinedRecords, TrainSource
from sam2.train.data.sources import ClipRecord
from sam2.train.data.stream import TrainStream, lengths_of
from sam2.train.embeddings import EmbeddingStore, Maps
from sam2.train.objective import normalised
from sam2.utils.fingerprint import model_hash

CANDIDATES = 32
"""Objects of a view among which each step chooses its own."""

_VIEW, _OBJECTS = 1, 2
"""What a seed is for."""

FillProgress = Callable[[int, int], None]


def encoder_parts(model: SAM2Base) -> nn.ModuleList:
    """What makes the maps that are kept: trunk, neck, the decoder's convolutions on the two finer maps."""
    decoder = model.sam_mask_decoder
    return nn.ModuleList([model.image_encoder, decoder.conv_s0, decoder.conv_s1])


def encoder_hash(model: SAM2Base) -> str:
    """A digest of the weights on which the maps depend."""
    return model_hash(encoder_parts(model))


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record that knows its place: ``index`` in source ``source``."""

    record: ClipRecord
    source: int
    index: int

    @property
    def name(self) -> str:
        """As of the record."""
        return self.record.name

    @property
    def num_frames(self) -> int:
        """As of the record."""
        return self.record.num_frames

    @property
    def labelled(self) -> tuple[int, ...]:
        """As of the record."""
        return self.record.labelled

    def image(self, index: int) -> NDArray[np.uint8]:
        """As of the record."""
        return self.record.image(index)

    def masks(self, index: int) -> Mapping[int, NDArray[np.bool_]]:
        """As of the record."""
        return self.record.masks(index)


class NumberedRecords(Sequence[ClipRecord]):
    """``records`` of source ``source``, each with its place."""

    def __init__(self, records: Sequence[ClipRecord], source: int) -> None:
        self._records, self._source = records, source

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> ClipRecord: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClipRecord]: ...

    def __getitem__(self, index: int | slice) -> ClipRecord | list[ClipRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return Numbered(self._records[index], self._source, range(len(self))[index])


@dataclass(frozen=True, slots=True)
class View:
    """A sample that is kept: ``record`` in its view ``number``, ``frames`` rows from ``row`` on."""

    record: ClipRecord
    frames: int
    number: int
    row: int


class Views:
    """All views of all records, and their places among the rows."""

    def __init__(self, sources: Sequence[TrainSource], config: DataConfig, count: int) -> None:
        self.sources, self.count, self.rows = tuple(sources), count, 0
        self._first: dict[tuple[int, int], int] = {}
        for number, source in enumerate(sources):
            for frames in sorted(lengths_of(config, source)):
                self._first[number, frames] = self.rows
                self.rows += len(source.records) * count * frames

    def of(self, record: ClipRecord, frames: int, number: int) -> View:
        """View ``number`` of a numbered record."""
        assert isinstance(record, Numbered)
        row = self._first[record.source, frames] + (record.index * self.count + number) * frames
        return View(record, frames, number, row)

    def __iter__(self) -> Iterator[View]:
        for source, frames in self._first:
            for record in self.sources[source].records:
                for number in range(self.count):
                    yield self.of(record, frames, number)


class CachedDrawer(ClipDrawer):
    """Draws samples that carry their maps: one of a record's views, objects and prompts as chance has it.

    Args:
        config: how other views than the first are varied, and how many objects a sample has.
        views: all there are.
        store: what holds their maps.
    """

    def __init__(self, config: DataConfig, views: Views, store: EmbeddingStore) -> None:
        donors = JoinedRecords([source.records for source in views.sources])
        super().__init__(replace(config, max_objects=max(CANDIDATES, config.max_objects)), donors)
        self._plain = ClipDrawer(replace(self.config, augment=NO_AUGMENTATION), donors)
        self.max_objects, self.views, self.store = config.max_objects, views, store

    def draw(self, record: ClipRecord, *, frames: int, seed: int) -> ClipSample:
        """As of every drawer, and ``maps``."""
        view = self.views.of(record, frames, mixed_seed(seed, _VIEW) % self.views.count)
        if not self.store.has(view.row, frames):
            raise UnreadableRecordError(record.name, "it could not be read when its embedding was to be computed")
        sample = self.see(view)
        order = np.random.default_rng(mixed_seed(seed, _OBJECTS)).permutation(len(sample.object_ids))
        chosen = order[: self.max_objects]
        return replace(
            sample,
            masks=np.ascontiguousarray(sample.masks[:, chosen]),
            object_ids=tuple(sample.object_ids[place] for place in chosen),
            seed=seed,
            maps=self.store.read(view.row, frames),
        )

    def see(self, view: View) -> ClipSample:
        """What a view shows, with up to ``CANDIDATES`` objects, always the same."""
        draw = super().draw if view.number else self._plain.draw
        return draw(view.record, frames=view.frames, seed=mixed_seed(view.row))


class _Unseen(Dataset[tuple[View, Tensor | None]]):
    """Views and their frames, [T, S, S, 3] uint8; None where a record cannot be read."""

    def __init__(self, drawer: CachedDrawer, views: Sequence[View]) -> None:
        self.drawer, self.views = drawer, views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> tuple[View, Tensor | None]:
        view = self.views[index]
        try:
            return view, torch.from_numpy(self.drawer.see(view).images)
        except UnreadableRecordError:
            return view, None


def freeze_encoder(model: SAM2Base) -> None:
    """What the maps depend on stops asking for gradients."""
    encoder_parts(model).requires_grad_(False)


def cached_stream(
    model: SAM2Base,
    stream: TrainStream,
    folder: str | Path,
    *,
    views: int = 1,
    progress: FillProgress | None = None,
) -> TrainStream:
    """The batches of ``stream`` with maps in them, which are computed first where ``folder`` does not have them.

    What was interrupted is gone on with. Where several processes train, each calls this and computes its share;
    ``folder`` is common to all. What is in it belongs to the encoder's weights, the names of the records, and what the
    configuration says of frames and their augmentation.

    Args:
        model: on the device that computes, before adapters are added; its encoder must not change afterwards
            (:func:`freeze_encoder`).
        stream: of samples without maps.
        views: of each record: the first as it is, the others augmented as the configuration says.
        progress: called after every sample with the number of those that are there, and of all: of this process.

    Raises:
        ValueError: ``views`` is less than 1, or ``folder`` holds embeddings of other weights or data.
        OSError: ``folder`` has no room for them.
    """
    if views < 1:
        raise ValueError(f"views must be at least 1, got {views}")
    config = stream.config
    sources = [
        replace(source, records=NumberedRecords(source.records, number)) for number, source in enumerate(stream.sources)
    ]
    kept = Views(sources, config, views)
    store = EmbeddingStore(Path(folder).expanduser().absolute(), kept.rows, _shapes(model, config.image_size))
    origin = {
        "format": "sam2-training-embeddings-1",
        "encoder": encoder_hash(model),
        "image_size": config.image_size,
        "views": views,
        "data": _data_hash(kept, config),
    }
    if stream.rank == 0:
        store.prepare(origin)
    _wait()
    if stream.rank:
        store.prepare(origin)
    drawer = CachedDrawer(config, kept, store)
    _fill(model, drawer, stream=stream, progress=progress or _silent)
    _wait()
    return stream.drawn_by(drawer, sources)


def _fill(model: SAM2Base, drawer: CachedDrawer, *, stream: TrainStream, progress: FillProgress) -> None:
    """Compute what is missing of this process's share."""
    store, workers = drawer.store, stream.config.workers
    own = [view for place, view in enumerate(drawer.views) if place % stream.world_size == stream.rank]
    missing = [view for view in own if not store.has(view.row, view.frames)]
    if not missing:
        return
    loader = DataLoader(_Unseen(drawer, missing), batch_size=None, num_workers=workers)
    training = model.training
    model.eval()
    try:
        for number, (view, images) in enumerate(loader, start=1):
            if images is not None:
                for row, image in enumerate(images, start=view.row):
                    store.write(row, _encoded(model, image))
            store.mark(view.row, view.frames, good=images is not None)
            progress(len(own) - len(missing) + number, len(own))
    finally:
        model.train(training)


@torch.no_grad()
def _encoded(model: SAM2Base, image: Tensor) -> Maps:
    """The maps of one frame, [S, S, 3] uint8. In float32 until they are kept, whatever the training computes in."""
    features = model.encode_image(normalised(image[None].to(model.device)))
    limit = torch.finfo(torch.float16).max
    maps = (features.embed, *features.high_res)
    embed, fine, middle = (part[0].float().clamp(-limit, limit).half().cpu().numpy() for part in maps)
    return embed, fine, middle


def _shapes(model: SAM2Base, size: int) -> tuple[tuple[int, int, int], ...]:
    decoder, side = model.sam_mask_decoder, size // 16
    channels = (model.hidden_dim, decoder.conv_s0.out_channels, decoder.conv_s1.out_channels)
    return tuple((c, side * scale, side * scale) for c, scale in zip(channels, (1, 4, 2), strict=True))


def _data_hash(views: Views, config: DataConfig) -> str:
    """Of the records' names and of whatever decides what their views show."""
    drawn = (config.frames, config.min_area, config.max_stride, config.reverse, config.cutouts)
    digest = hashlib.sha256(repr((drawn, config.augment if views.count > 1 else None)).encode())
    for source in views.sources:
        digest.update(f"\n{source.config.title} {sorted(lengths_of(config, source))}".encode())
        for record in source.records:
            digest.update(f"\0{record.name}".encode())
    return digest.hexdigest()[:32]


def _wait() -> None:
    """For all processes that train together."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def _silent(done: int, total: int) -> None:
    """No progress."""
