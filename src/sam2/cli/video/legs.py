"""Which frames a run goes through, in which order, for which objects."""

from collections.abc import Sequence
from dataclasses import dataclass

from sam2.cli.video.prompts import VideoPrompt

DIRECTIONS = ("forward", "reverse", "both")


@dataclass(frozen=True, slots=True)
class Span:
    """What was asked for.

    Attributes:
        direction: of ``DIRECTIONS``.
        start: first frame, or None.
        end: last frame (included), or None.
    """

    direction: str = "forward"
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One stretch in one direction.

    Attributes:
        frames: in the order they are tracked.
        obj_ids: objects that are tracked there.
    """

    frames: range
    obj_ids: tuple[int, ...]

    @property
    def reverse(self) -> bool:
        """Whether it goes backward."""
        return self.frames.step < 0

    def after(self, count: int) -> "Leg":
        """What is left when ``count`` frames are done."""
        return Leg(self.frames[count:], self.obj_ids)


def plan_legs(prompts: Sequence[VideoPrompt], span: Span, num_frames: int) -> list[Leg]:
    """The stretches of a run. With ``both``: forward, then backward with every object that had not begun.

    Raises:
        ValueError: a frame that the video does not have, or a span that holds nothing.
    """
    check_frames(prompts, span, num_frames)
    ids = tuple(sorted({prompt.object_id for prompt in prompts}))
    frames = {obj_id: [p.frame for p in prompts if p.object_id == obj_id] for obj_id in ids}
    first = min(min(values) for values in frames.values())
    last = max(max(values) for values in frames.values())
    bottom = 0 if span.start is None else span.start
    top = num_frames - 1 if span.end is None else span.end
    if span.direction == "reverse":
        begin = last if span.end is None else top
        legs = [Leg(range(begin, bottom - 1, -1), ids)]
    else:
        begin = bottom if span.start is not None and span.direction == "forward" else max(first, bottom)
        legs = [Leg(range(begin, top + 1), ids)]
        if span.direction == "both":
            legs += _backward({obj_id: min(min(values) - 1, top) for obj_id, values in frames.items()}, bottom)
    legs = [leg for leg in legs if len(leg.frames)]
    if not legs:
        where = f"the first prompt is on frame {first}, the last one on frame {last}"
        raise ValueError(f"nothing to track {span.direction} in frames {bottom} to {top}: {where}")
    return legs


def _backward(tops: dict[int, int], bottom: int) -> list[Leg]:
    """Backward from each object's top: whoever has begun goes along."""
    legs = []
    turns = sorted(set(tops.values()), reverse=True)
    for top, until in zip(turns, [*turns[1:], bottom - 1], strict=True):
        ids = tuple(obj_id for obj_id, own in tops.items() if own >= top)
        legs.append(Leg(range(top, max(until, bottom - 1), -1), ids))
    return legs


def check_frames(prompts: Sequence[VideoPrompt], span: Span, num_frames: int) -> None:
    """Raise ``ValueError`` if a prompt or the span names a frame that the video does not have."""
    has = f"the video has {num_frames} frames (0 to {num_frames - 1})"
    for prompt in prompts:
        if prompt.frame >= num_frames:
            raise ValueError(f"there is a prompt on frame {prompt.frame}, but {has}")
    for option, value in (("--start", span.start), ("--end", span.end)):
        if value is not None and not 0 <= value < num_frames:
            raise ValueError(f"{option} {value}: {has}")
    if span.start is not None and span.end is not None and span.start > span.end:
        raise ValueError(f"--start {span.start} is after --end {span.end}")


def has_begun(leg: Leg, prompts: Sequence[VideoPrompt], obj_id: int, frame: int) -> bool:
    """Whether an object has been prompted by the time that a leg comes to ``frame``."""
    return any(p.object_id == obj_id and (p.frame >= frame if leg.reverse else p.frame <= frame) for p in prompts)


def corrections(prompts: Sequence[VideoPrompt], legs: Sequence[Leg]) -> list[VideoPrompt]:
    """Prompts to be given when tracking comes to their frames: clicks alone, on an object that it brings along.

    What a click corrects is the mask that is there, so there has to be one. Boxes and masks say all by themselves:
    they are given before tracking starts, which lets the frames before them know of them.
    """
    leg = legs[0]
    return [
        prompt
        for prompt in prompts
        if prompt.box is None
        and prompt.mask is None
        and prompt.rle is None
        and prompt.frame in leg.frames[1:]
        and has_begun(leg, prompts, prompt.object_id, prompt.frame + (1 if leg.reverse else -1))
    ]
