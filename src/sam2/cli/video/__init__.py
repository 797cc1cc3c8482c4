"""``sam2 video`` and ``sam2 camera``: prompts, tracking, results that grow frame by frame, going on after a break."""
