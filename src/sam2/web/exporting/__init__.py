"""Exports: what people made, as other tools take it."""
