"""Training data: readers of every layout, clips drawn from them, augmentation, batches."""
