"""Evaluation: click and box protocols on interactive-segmentation data sets."""
