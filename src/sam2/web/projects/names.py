"""Names of projects, which are names of folders as well."""

import re

from sam2.web.errors import StudioError

LONGEST = 100
LONGEST_BYTES = 200
"""File systems take 255 bytes, of which files in the making need some."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def check_name(name: str) -> str:
    """``name``, if a folder may be called so on every system.

    Raises:
        StudioError: 404 for what can never be the name of a project.
    """
    fine = re.fullmatch(r"\w[\w\-. ]*", name) is not None
    fine = fine and len(name) <= LONGEST and len(name.encode()) <= LONGEST_BYTES
    if not fine or name[-1] in ". " or ".." in name or name.split(".")[0].lower() in _RESERVED:
        raise StudioError(404, "there is no such project: names have letters, digits, '-', '_' and '.' only")
    return name


def check_new_name(name: str) -> str:
    """As :func:`check_name`, for a name that someone chooses.

    Raises:
        StudioError: 422.
    """
    try:
        return check_name(name)
    except StudioError:
        raise StudioError(
            422, f"name must have letters, digits, '-', '_', spaces and '.' only, {LONGEST} at most, got {name!r}"
        ) from None


def name_for(title: str) -> str:
    """A name for a project that is called ``title``, which may be anything."""
    slug = re.sub(r"[^\w.]+", "-", title)
    slug = re.sub(r"\.{2,}", ".", slug).strip("-._ ")[: LONGEST - 10]
    slug = slug.encode()[: LONGEST_BYTES - 10].decode(errors="ignore").rstrip("-._ ") or "project"
    return f"{slug}-" if slug.split(".")[0].lower() in _RESERVED else slug


def free_name(title: str, taken: set[str]) -> str:
    """As :func:`name_for`, with a number if another project is called so already."""
    base = name_for(title)
    folded = {name.casefold() for name in taken}  # some systems do not tell capitals from small letters
    name, number = base, 1
    while name.casefold() in folded:
        number += 1
        name = f"{base}-{number}"
    return name
