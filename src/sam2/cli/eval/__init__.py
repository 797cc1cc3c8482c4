"""What ``sam2 eval`` does once its options have been read."""
