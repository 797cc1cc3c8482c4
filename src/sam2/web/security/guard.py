"""The layer that every request passes first."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from sam2.web.security.logins import Logins
from sam2.web.security.origins import SAFE_METHODS, refusal
from sam2.web.security.rates import Rate
from sam2.web.settings import StudioSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOADS = "/v1/uploads"
WRONG_TOKENS = 1.0
"""So many a second a client may try, ten at once."""
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Refuses foreign hosts and origins, wrong tokens, floods and floods of bytes; adds the headers browsers heed.

    Args:
        app: what is guarded.
        settings: limits, and the token.
    """

    def __init__(self, app: App, settings: StudioSettings) -> None:
        self.app, self.settings = app, settings
        self.logins = Logins(settings.token, settings.session_hours)
        self._rate = Rate(settings.requests_per_second, 5 * settings.requests_per_second)
        self._wrong = Rate(WRONG_TOKENS, 10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        send = _with_headers(send, scope["path"])
        problem = self._problem(scope, headers)
        if problem is not None:
            await answer(send, *problem)
            return
        if scope["path"] == "/" and "token" in parse_qs(scope["query_string"].decode("latin-1")):
            await self._log_in(scope, send)
            return
        if not self.logins.admits(headers):
            await self._ask_for_token(scope, headers, send)
            return
        await self._pass_on(scope, receive, send)

    def _problem(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        why = refusal(scope["method"], headers, self.settings)
        if why is not None:
            return 403, why
        if not self._rate.allows(_client(scope)):
            return 429, "too many calls: wait a moment"
        is_upload = scope["path"] == UPLOADS
        limit = self.settings.upload_limit if is_upload else self.settings.json_limit
        length = headers.get("content-length", "0")
        if not length.isdigit():
            return 400, "Content-Length must be a number"
        if int(length) > limit:
            return 413, f"too large: {int(length)} bytes came, {limit} are allowed"
        has_body = length != "0" or "transfer-encoding" in headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] not in SAFE_METHODS and not is_upload and has_body and kind != "application/json":
            return 415, f"the body must be application/json, got {kind[:100] or 'no content type'}"
        return None

    async def _log_in(self, scope: Scope, send: Send) -> None:
        """A page shows the token once, in its address, and is sent on to the address without it."""
        token = parse_qs(scope["query_string"].decode("latin-1"))["token"][0]
        if not self.logins.needed:
            await answer(send, 303, "here is no token needed", extra=[(b"location", b"/")])
        elif self._wrong.allows(_client(scope)) and self.logins.knows(token):
            cookie = self.logins.cookie(self.logins.begin()).encode()
            await answer(send, 303, "welcome", extra=[(b"location", b"/"), (b"set-cookie", cookie)])
        else:
            await answer(send, 401, "this is not the token: use the address that the studio printed when it started")

    async def _ask_for_token(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        if "authorization" in headers and not self._wrong.allows(_client(scope)):
            await answer(send, 429, "too many wrong tokens: wait a while")
            return
        text = "a token is needed: use the address that the studio printed, or send Authorization: Bearer TOKEN"
        await answer(send, 401, text, extra=[(b"www-authenticate", b"Bearer")])

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes; a body without a length may be endless."""
        limit = self.settings.upload_limit if scope["path"] == UPLOADS else self.settings.json_limit
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                raise HTTPException(413, f"too large: {limit} bytes are allowed")
            return message

        await self.app(scope, counted, send)


async def answer(send: Send, status: int, detail: str, *, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    """Send one sentence as JSON."""
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _with_headers(send: Send, path: str) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            added = [(n.encode(), v.encode()) for n, v in HEADERS.items()]
            if b"cache-control" not in present:
                added.append((b"cache-control", b"no-store" if path.startswith("/v1") else b"no-cache"))
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sender
