"""Effects that editors want: what is around an object steps back, or the object itself is hidden."""

from sam2.viz.effects.effect import EFFECTS, Effect, apply_effect, make_effect

__all__ = ["EFFECTS", "Effect", "apply_effect", "make_effect"]
