"""Computing with the model: one thread that takes work by urgency, and the features that it made."""
