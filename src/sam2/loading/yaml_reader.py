"""YAML as the official configurations mean it: ``1e-6`` is a number, which PyYAML alone reads as a string."""

import re
from typing import Any

import yaml

EXPONENT = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
"""How a float with an exponent is written, with a point or, as PyYAML would not have it, without."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the floats of YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    EXPONENT,
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Any:
    """The value that ``text`` stands for.

    Raises:
        ValueError: the text is not YAML; the message gives line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error
