"""The network: stateless modules, one part a file, importing nothing else of ``sam2``."""
