"""Formats of other tools: leaves, which import no other part of ``sam2``."""
