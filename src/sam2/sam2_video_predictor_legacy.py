"""The official import path of the predictor before December 2024; the predictor is that of today."""

from sam2.sam2_video_predictor import SAM2VideoPredictor

__all__ = ["SAM2VideoPredictor"]
