"""Readers of data sets: a module a layout, all of which give :class:`sam2.train.data.sources.ClipRecord`."""
