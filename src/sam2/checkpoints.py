"""Weights: the official checkpoints and the bundled one by name, any file by its contents."""

from sam2.loading.download import DownloadError
from sam2.loading.registry import CHECKPOINTS, Checkpoint, cache_dir, checkpoint, download, find_local
from sam2.loading.weights import load_strict, read_checkpoint, recognise

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "DownloadError",
    "cache_dir",
    "checkpoint",
    "download",
    "find_local",
    "load_strict",
    "read_checkpoint",
    "recognise",
]
