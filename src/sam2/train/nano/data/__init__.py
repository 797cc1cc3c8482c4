"""Training data: readers, one packed cache that needs no decoding, augmented samples, batches."""
