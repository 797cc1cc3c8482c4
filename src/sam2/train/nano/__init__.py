"""The bundled model, from nothing: packed photos, clips made of them, a teacher, a budget of minutes on CPU cores."""
