"""Embeddings that are kept: they are those of the model, belong to it, and train what comes after the encoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from moving_discs import model
from painted import Painted, misplaced, video
from training_doubles import make_discs, silent, small_model_yaml, small_training

from sam2.train.cached import cached_stream, freeze_encoder
from sam2.train.data.config import NO_AUGMENTATION, AugmentConfig, DataConfig
from sam2.train.data.opening import TrainSource
from sam2.train.data.sources import SourceConfig
from sam2.train.data.stream import TrainStream
from sam2.train.embeddings import INDEX, EmbeddingStore
from sam2.train.lora import LoraConfig
from sam2.train.losses import LossConfig
from sam2.train.objective import Objective, normalised
from sam2.train.prompts import PromptConfig
from sam2.train.trainer import train

TURNED = replace(NO_AUGMENTATION, flip=0.5, affine=1.0)


def records(count=5, **fields):
    return [Painted(name=f"still {number}", height=100 + number, **fields) for number in range(count)]


def stream(own=None, **changes):
    config = DataConfig(**{"image_size": 256, "batch_size": 2, "workers": 0, "augment": TURNED, "frames": 3, **changes})
    own = records() if own is None else own
    source = TrainSource(SourceConfig(path="painted"), own, videos=own[0].num_frames > 1)
    return TrainStream(config, seed=5, sources=[source])


def take(batches, count):
    found = batches.batches(0)
    return [next(found) for _ in range(count)]


def seen(net, batch):
    """What the model says of the frames of a batch."""
    with torch.no_grad():
        features = net.eval().encode_image(normalised(batch.images.flatten(0, 1)))
    return features.embed, *features.high_res


@pytest.mark.parametrize("kind", ["small", "nano"])
def test_batches_carry_what_the_encoder_says_of_their_frames(tmp_path, kind):
    net = model(kind)
    cached = cached_stream(net, stream(), tmp_path, views=1)
    assert net.training
    for batch in take(cached, 3):
        assert [part.dtype for part in batch.maps] == [torch.float16] * 3
        for kept, now in zip(batch.maps, seen(net, batch), strict=True):
            assert torch.allclose(kept.float(), now, atol=2e-3 * float(now.abs().max()))


def test_masks_lie_where_the_kept_view_shows_the_objects(tmp_path):
    cached = cached_stream(model(), stream(), tmp_path, views=3)
    views = set()
    for batch in take(cached, 12):
        for place, clip in enumerate(batch.clip_of.tolist()):
            image, mask = batch.images[clip, 0].numpy(), batch.masks[0, place].numpy()
            assert min(misplaced(image, mask, number, rim=4) for number in range(3)) < 0.01
        views |= {(name, image.numpy().tobytes()) for name, image in zip(batch.names, batch.images, strict=True)}
    assert len({name for name, _ in views}) == 5
    assert 8 < len(views) <= 15


def test_the_first_view_is_the_picture_as_it_is(tmp_path):
    plain = take(stream(augment=NO_AUGMENTATION), 3)
    pictures = {name: image for batch in plain for name, image in zip(batch.names, batch.images, strict=True)}
    for batch in take(cached_stream(model(), stream(), tmp_path), 3):
        for name, image in zip(batch.names, batch.images, strict=True):
            assert torch.equal(image, pictures[name])


def test_objects_and_prompts_change_from_epoch_to_epoch(tmp_path):
    cached = cached_stream(model(), stream(records(1), max_objects=1, batch_size=1), tmp_path)
    batches = take(cached, 12)
    assert len({batch.masks.numpy().tobytes() for batch in batches}) == 3
    assert len({int(batch.seeds[0]) for batch in batches}) == 12
    again = take(cached, 12)
    assert all(
        torch.equal(a.masks, b.masks) and torch.equal(a.seeds, b.seeds) for a, b in zip(batches, again, strict=True)
    )


def test_clips_are_kept_whole(tmp_path):
    net = model()
    cached = cached_stream(net, stream([video("a"), video("b", 7)], batch_size=1), tmp_path)
    for batch in take(cached, 2):
        assert batch.frames == 3
        assert batch.maps[0].shape[0] == 3
        assert torch.allclose(batch.maps[0].float(), seen(net, batch)[0], atol=1e-2)


def test_workers_draw_the_same(tmp_path):
    net = model()
    alone = take(cached_stream(net, stream(), tmp_path), 3)
    for mine, theirs in zip(alone, take(cached_stream(net, stream(workers=1), tmp_path), 3), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.maps, theirs.maps, strict=True))
        assert torch.equal(mine.masks, theirs.masks)


def test_what_is_there_is_not_computed_again(tmp_path):
    net, calls, told = model(), [], []
    encode = net.encode_image

    def interrupt(pixels):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return encode(pixels)

    net.encode_image = interrupt
    with pytest.raises(KeyboardInterrupt):
        cached_stream(net, stream(), tmp_path)
    net.encode_image = lambda pixels: calls.append(1) or encode(pixels)
    cached = cached_stream(net, stream(), tmp_path, progress=lambda done, total: told.append((done, total)))
    assert len(calls) == 5
    assert told[-1] == (5, 5)
    cached_stream(net, stream(), tmp_path)
    assert len(calls) == 5
    del net.encode_image
    assert torch.allclose(take(cached, 1)[0].maps[0].float(), seen(net, take(cached, 1)[0])[0], atol=1e-2)


def test_embeddings_belong_to_weights_and_data(tmp_path):
    net = model()
    cached_stream(net, stream(), tmp_path)
    with torch.no_grad():
        net.sam_mask_decoder.iou_token.weight.add_(1)
    cached_stream(net, stream(batch_size=1, max_objects=7, augment=AugmentConfig()), tmp_path)
    for changed, what in ((stream(records(4)), "data"), (stream(min_area=0.1), "data")):
        with pytest.raises(ValueError, match=f"another {what}"):
            cached_stream(net, changed, tmp_path)
    with pytest.raises(ValueError, match="another views"):
        cached_stream(net, stream(), tmp_path, views=2)
    with torch.no_grad():
        net.sam_mask_decoder.conv_s0.bias.add_(1)
    with pytest.raises(ValueError, match=r"another encoder .*cache_embeddings"):
        cached_stream(net, stream(), tmp_path)


def test_a_record_that_cannot_be_read_is_left_out(tmp_path):
    own = [*records(3), Painted(name="torn", broken="torn.jpg is torn")]
    cached = cached_stream(model(), stream(own), tmp_path)
    with pytest.warns(UserWarning, match="skipped torn"):
        names = {name for batch in take(cached, 6) for name in batch.names}
    assert names == {"still 0", "still 1", "still 2"}


def test_processes_share_the_work_and_the_files(tmp_path):
    """As two processes would, one after the other."""
    net = model()
    whole = stream(batch_size=2)
    calls = []
    encode = net.encode_image
    net.encode_image = lambda pixels: calls.append(1) or encode(pixels)
    counts, parts = [], []
    for rank in range(2):
        own = TrainStream(replace(whole.config, batch_size=1), seed=5, rank=rank, world_size=2, sources=whole.sources)
        parts.append(cached_stream(net, own, tmp_path))
        counts.append(len(calls))
    assert counts == [3, 5]
    together = take(cached_stream(net, whole, tmp_path), 2)
    for step, batch in enumerate(together):
        for rank, part in enumerate(parts):
            assert torch.equal(take(part, 2)[step].maps[0][0], batch.maps[0][rank])


def test_files_are_of_a_limited_size(tmp_path, monkeypatch):
    monkeypatch.setattr("sam2.train.embeddings.FILE_BYTES", 100)
    store = EmbeddingStore(tmp_path, 5, ((2, 2, 2), (1, 4, 4), (1, 1, 1)))
    store.prepare({"a": 1})
    rows = [tuple(np.full(shape, 10 * row + k, np.float16) for k, shape in enumerate(store.shapes)) for row in range(5)]
    for row, maps in enumerate(rows):
        store.write(row, maps)
    assert len(list(tmp_path.glob("*.f16"))) == 3
    assert not store.has(0, 1)
    store.mark(0, 3, good=True)
    assert store.has(0, 3)
    assert not store.has(2, 2)
    fresh = EmbeddingStore(tmp_path, 5, store.shapes)
    for part, count in zip(fresh.read(1, 4), range(3), strict=True):
        assert np.array_equal(part, np.stack([maps[count] for maps in rows[1:]]))


def test_a_disk_that_is_too_small_is_seen_before(tmp_path):
    store = EmbeddingStore(tmp_path / "kept", 10**12, ((256, 64, 64), (32, 256, 256), (64, 128, 128)))
    with pytest.raises(OSError, match=r"GB left, embeddings of 1000000000000 frames take"):
        store.prepare({})
    assert not (tmp_path / "kept" / INDEX).exists()


def test_views_must_be_some(tmp_path):
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        cached_stream(model(), stream(), tmp_path, views=0)


def test_the_objective_reads_the_maps(tmp_path):
    """The loss is that of the encoder's own maps, rounded; what is before them gets no gradient."""
    net = model()
    batch = take(cached_stream(net, stream(), tmp_path), 1)[0]
    freeze_encoder(net)
    prompts = PromptConfig(still_corrections=2)
    objective = Objective(net, prompts=prompts, loss=LossConfig(gated=False), frozen_encoder=True)
    loss = objective(batch)["loss"]
    loss.backward()
    kept = loss.detach()
    assert kept.item() == pytest.approx(objective(replace(batch, maps=()))["loss"].item(), rel=1e-2)
    assert all(p.grad is None for p in [*net.image_encoder.parameters(), *net.sam_mask_decoder.conv_s0.parameters()])
    assert float(net.sam_mask_decoder.iou_token.weight.grad.abs().sum()) > 0
    batch.images.zero_()
    assert torch.equal(objective(batch)["loss"].detach(), kept)


def test_a_training_on_kept_embeddings(tmp_path):
    data, kept = make_discs(tmp_path / "data"), tmp_path / "kept"
    config = small_training(small_model_yaml(data), data, clips=0.0, cache_embeddings=str(kept), cache_views=2, steps=2)
    result = train(config, tmp_path / "run", progress=silent)
    before = train(replace(config, run=replace(config.run, steps=1)), tmp_path / "short", progress=silent)
    last, first = (torch.load(r.checkpoint, weights_only=True)["model"] for r in (result, before))
    moved = {name for name in last if not torch.equal(last[name], first[name])}
    assert any(name.startswith("sam_mask_decoder.transformer") for name in moved)
    assert not any(name.startswith(("image_encoder", "sam_mask_decoder.conv_s")) for name in moved)
    assert json.loads((kept / INDEX).read_text())["views"] == 2


def test_adapters_and_kept_embeddings(tmp_path):
    data = make_discs(tmp_path / "data")
    config = small_training(small_model_yaml(data), data, clips=0.0, cache_embeddings=str(tmp_path / "kept"), steps=2)
    result = train(replace(config, lora=LoraConfig(rank=2)), tmp_path / "run", progress=silent)
    state = torch.load(result.checkpoint, weights_only=True)["model"]
    assert not any("parametrizations" in name for name in state)
