"""Other web pages can make a browser send requests here: they are told from the studio's own by what browsers say."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from sam2.web.settings import StudioSettings

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}


def refusal(method: str, headers: Mapping[str, str], settings: StudioSettings) -> str | None:
    """Why a request is refused, or None.

    On a machine's own address the name that the client used must be local, or a foreign name that was made to point
    here (DNS rebinding) would do. A request that a browser makes for another page is refused, whatever it asks for.

    Args:
        method: of HTTP.
        headers: of the request, names in lower case.
        settings: where the server listens.
    """
    host = headers.get("host", "")
    if settings.is_local and not is_local_name(host):
        return f"host {host[:100]!r} is not this machine: use localhost"
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none") and not _is_visit(method, headers):
        return "calls of other web pages are refused"
    origin = headers.get("origin")
    if origin is not None and not same_host(origin, host):
        return "calls of other web pages are refused"
    return None


def is_local_name(host: str) -> bool:
    """Whether the ``Host`` header names this machine."""
    name = _host_name(host)
    if name in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


def same_host(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` is one of ``host``: its name and port agree. ``null`` is nobody's."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_visit(method: str, headers: Mapping[str, str]) -> bool:
    """Someone follows a link to the page: harmless, since reading is all that it does and nobody else sees it."""
    return method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate" and "origin" not in headers


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname if parts.netloc == host and "@" not in host else None
    except ValueError:
        return None
