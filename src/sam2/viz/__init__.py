"""Drawing: masks over pictures, effects, sheets and plots. Needs numpy, OpenCV and Pillow only."""

from sam2.viz.effects import EFFECTS, Effect, apply_effect, make_effect
from sam2.viz.overlay import DrawnPrompts, draw_overlay, draw_point
from sam2.viz.palette import object_colour
from sam2.viz.sheet import contact_sheet, mask_sheet
from sam2.viz.timeline import ObjectLine, draw_timeline

__all__ = [
    "EFFECTS",
    "DrawnPrompts",
    "Effect",
    "ObjectLine",
    "apply_effect",
    "contact_sheet",
    "draw_overlay",
    "draw_point",
    "draw_timeline",
    "make_effect",
    "mask_sheet",
    "object_colour",
]
