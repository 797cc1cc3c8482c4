"""Drawing: masks over pictures, and many pictures on one sheet. Needs numpy, OpenCV and Pillow only."""

from sam2.viz.overlay import DrawnPrompts, draw_overlay, draw_point
from sam2.viz.palette import object_colour
from sam2.viz.sheet import contact_sheet

__all__ = ["DrawnPrompts", "contact_sheet", "draw_overlay", "draw_point", "object_colour"]
