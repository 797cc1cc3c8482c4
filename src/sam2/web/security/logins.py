"""The token, and the pages that have shown it."""

import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

COOKIE = "sam2_studio"
MOST = 1000
"""Pages that are logged in; the oldest is logged out first."""


class Logins:
    """Checks tokens, and gives a page that has shown one a random number that holds for some hours.

    Args:
        token: what must be known; None lets everybody in.
        hours: how long a page stays logged in.
        port: of the server. Browsers send cookies to all ports of a machine: two studios do not take each other's.
    """

    def __init__(self, token: str | None, hours: float, *, port: int) -> None:
        self._token, self._seconds = token, hours * 3600
        self._name = f"{COOKIE}_{port}"
        self._lock = threading.Lock()
        self._pages: dict[str, float] = {}

    @property
    def needed(self) -> bool:
        """Whether a token must be known."""
        return self._token is not None

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes equally long whatever is wrong with it."""
        return self._token is None or hmac.compare_digest(token.encode(), self._token.encode())

    def begin(self) -> str:
        """A number for a page that has shown the token."""
        number, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._pages = {page: end for page, end in self._pages.items() if end > now}
            while len(self._pages) >= MOST:
                del self._pages[next(iter(self._pages))]
            self._pages[number] = now + self._seconds
        return number

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows the token (``Authorization: Bearer``) or the cookie of a page that has."""
        if self._token is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.knows(token.strip()):
            return True
        number = _cookie(headers.get("cookie", ""), self._name)
        with self._lock:
            return number is not None and self._pages.get(number, 0.0) > time.monotonic()

    def cookie(self, number: str) -> str:
        """The header that gives a page its number: no script reads it, no other site sends it."""
        return f"{self._name}={number}; Path=/; HttpOnly; SameSite=Strict; Max-Age={int(self._seconds)}"


def _cookie(header: str, name: str) -> str | None:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return None if found is None else found.value
