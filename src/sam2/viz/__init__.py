"""Drawing: masks over pictures, effects, and many pictures on one sheet. Needs numpy, OpenCV and Pillow only."""

from sam2.viz.effects import EFFECTS, Effect, apply_effect, make_effect
from sam2.viz.overlay import DrawnPrompts, draw_overlay, draw_point
from sam2.viz.palette import object_colour
from sam2.viz.sheet import contact_sheet, mask_sheet

__all__ = [
    "EFFECTS",
    "DrawnPrompts",
    "Effect",
    "apply_effect",
    "contact_sheet",
    "draw_overlay",
    "draw_point",
    "make_effect",
    "mask_sheet",
    "object_colour",
]
