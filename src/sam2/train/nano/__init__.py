"""The bundled model, from nothing: packed photos, clips made of them, a teacher, its recipe on the training engine."""
