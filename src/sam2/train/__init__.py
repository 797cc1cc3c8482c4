"""Training: data, prompt simulation, losses and one straight loop. ``python -m sam2.train.nano --help``."""
