"""Projects: a folder each, with what people said of a video or a set of photos, and the masks that came of it."""
