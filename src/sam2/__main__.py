"""``python -m sam2``, for where the ``sam2`` script is not on the path."""

import sys

from sam2.cli import main

sys.exit(main())
