"""Reading and writing media: leaves, which import no other part of ``sam2``."""
