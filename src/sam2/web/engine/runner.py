"""The one thread that computes with a model. Whoever needs it brings work and waits; clicks come first.

A model that several threads use at once would only make each of them slower, on a CPU as on an accelerator. Work is
taken by urgency; what is less urgent gets its turn now and then, so that tracking goes on under a hail of clicks.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

import torch

from sam2.image import EncodedImages, ImagePrompts, MaskResult, decode
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.types import PromptBatch
from sam2.utils.transforms import SAM2Transforms

T = TypeVar("T")

PATIENCE = 8
"""So many pieces of work may overtake one that waits."""
SPECK = 8
"""Holes and islands of so few cells of a mask (a quarter of the model's input a side) are treated as noise."""
DECODED_AT_ONCE = 16
"""Requests that share a pass of the decoder."""


class Priority(IntEnum):
    """How urgent work is; smaller numbers go first."""

    CLICK = 0
    SHOWN = 1
    TRACK = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Decoding:
    """A request to the decoder, which may share its pass with others."""

    encoded: EncodedImages
    prompts: PromptBatch
    multimask: bool


@dataclass(slots=True, eq=False)
class _Work:
    """What waits. ``task`` is called, or is a request to the decoder."""

    task: Callable[[], Any] | _Decoding
    future: Future[Any] = field(default_factory=Future[Any])
    overtaken: int = 0


class Runner:
    """Computes with one model, one piece of work at a time.

    Args:
        model: in evaluation mode; nobody else may compute with it while the runner is open.
        name: what the model is called.
    """

    def __init__(self, model: SAM2Base, *, name: str = "") -> None:
        self.model, self.name = model, name or model.config.name
        self.device = torch.device(model.device)
        self.transforms = SAM2Transforms(model.image_size, 0.0, SPECK, SPECK)
        self._queues: dict[Priority, deque[_Work]] = {priority: deque() for priority in Priority}
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="sam2-runner", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether this is the runner's own thread."""
        return threading.current_thread() is self._thread

    def run(self, work: Callable[[], T], *, priority: Priority = Priority.CLICK) -> T:
        """Do ``work`` on the runner's thread, in inference mode, and wait for it; from that thread it is done at once.

        Raises:
            RuntimeError: the runner is closed.
            Exception: whatever ``work`` raises.
        """
        if self.is_current:
            return work()
        return self.submit(work, priority=priority).result()

    def submit(self, work: Callable[[], T], *, priority: Priority) -> "Future[T]":
        """As :meth:`run`, without waiting. A future that is cancelled in time is never begun.

        Raises:
            RuntimeError: the runner is closed.
        """
        return self._put(_Work(work), priority)

    def decode(self, encoded: EncodedImages, prompts: PromptBatch, *, multimask: bool) -> MaskResult:
        """The masks of prompts about one image. Requests that wait at the same time share a pass of the decoder.

        Args:
            encoded: one image.
            prompts: n objects, in the model's frame.
            multimask: three candidates of each, or one.

        Raises:
            RuntimeError: the runner is closed.
        """
        if len(encoded) != 1:
            raise ValueError(f"encoded must be of one image, got {len(encoded)}")
        request = _Decoding(encoded, prompts, multimask)
        if self.is_current:
            return self._decode([request])[0]
        return self._put(_Work(request), Priority.CLICK).result()

    def close(self) -> None:
        """End the thread after the work that it is at. What waits fails; does nothing the second time."""
        with self._wake:
            self._closed = True
            waiting = [work for queue in self._queues.values() for work in queue]
            for queue in self._queues.values():
                queue.clear()
            self._wake.notify_all()
        for work in waiting:
            if work.future.set_running_or_notify_cancel():
                work.future.set_exception(RuntimeError("the studio is closing"))
        if not self.is_current:
            self._thread.join(timeout=30)

    def _put(self, work: _Work, priority: Priority) -> "Future[Any]":
        with self._wake:
            if self._closed:
                raise RuntimeError("the studio is closing")
            self._queues[priority].append(work)
            self._wake.notify()
        return work.future

    def _serve(self) -> None:
        with torch.inference_mode():
            while True:
                with self._wake:
                    while not self._closed and not any(self._queues.values()):
                        self._wake.wait()
                    if self._closed:
                        return
                    batch = self._take()
                self._do([work for work in batch if work.future.set_running_or_notify_cancel()])
                del batch  # features that nobody else holds are not kept until the next work comes

    def _take(self) -> list[_Work]:
        """The next piece of work; if it is a request to the decoder, with those that can share its pass."""
        waiting = [self._queues[priority] for priority in Priority if self._queues[priority]]
        chosen = next((queue for queue in waiting if queue[0].overtaken >= PATIENCE), waiting[0])
        for queue in waiting:
            if queue is not chosen:
                queue[0].overtaken += 1
        first = chosen.popleft()
        batch = [first]
        if isinstance(first.task, _Decoding):
            others = [w for w in chosen if isinstance(w.task, _Decoding) and w.task.multimask == first.task.multimask]
            for work in others[: DECODED_AT_ONCE - 1]:
                chosen.remove(work)
                batch.append(work)
        return batch

    def _do(self, batch: list[_Work]) -> None:
        if not batch:
            return
        try:
            requests = [work.task for work in batch if isinstance(work.task, _Decoding)]
            if requests:
                results: list[Any] = list(self._decode(requests))
            else:
                results = [work.task() for work in batch if not isinstance(work.task, _Decoding)]
        except BaseException as error:
            self._fail(batch, error)
            return
        for work, result in zip(batch, results, strict=True):
            work.future.set_result(result)

    def _fail(self, batch: list[_Work], error: BaseException) -> None:
        """One request that cannot be decoded must not harm those that shared its pass."""
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for work in batch:
            self._do([work])

    def _decode(self, requests: list[_Decoding]) -> list[MaskResult]:
        images: list[EncodedImages] = []
        places: dict[int, int] = {}
        for request in requests:
            if id(request.encoded) not in places:
                places[id(request.encoded)] = len(images)
                images.append(request.encoded)
        prompts = [ImagePrompts(places[id(request.encoded)], request.prompts) for request in requests]
        return decode(self.model, joined(images), prompts, self.transforms, multimask=requests[0].multimask)


def joined(images: list[EncodedImages]) -> EncodedImages:
    """Images that were encoded one by one, as if they had been encoded together."""
    if len(images) == 1:
        return images[0]
    fine, middle = (torch.cat([image.high_res[i] for image in images]) for i in (0, 1))
    sizes = tuple(size for image in images for size in image.sizes)
    return EncodedImages(torch.cat([image.embed for image in images]), (fine, middle), sizes)
