"""Parity with the official implementation (recordings) and with ``transformers`` (an independent one)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFORMANCE = HERE / "conformance"

# The recordings come with the scripts that made them; both folders are imported as they are, not as packages.
for folder in (CONFORMANCE, HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
