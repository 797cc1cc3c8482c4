"""Image transforms, mask post-processing and their official names: leaves, which import no other part of ``sam2``."""
