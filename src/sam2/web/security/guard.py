"""The layer that every request passes first."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from sam2.web.security.logins import Logins
from sam2.web.security.origins import SAFE_METHODS, refusal
from sam2.web.security.rates import Rate, Slots
from sam2.web.settings import StudioSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

UPLOADS = "/v1/uploads"
WRONG_TOKENS = 1.0
"""So many a second a client may try, ten at once."""
BODY_SECONDS = 60.0
"""A body of which nothing comes for so long is given up."""
STREAMS = (32, 256)
"""Streams of events that one client, and all of them, may have open."""
CALLS = (128, 512)
"""Calls that one client, and all of them, may have open: a body that comes slowly holds memory or a file."""
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
        self.logins = Logins(settings.token, settings.session_hours, port=settings.port)
        self._rate = Rate(settings.requests_per_second, 5 * settings.requests_per_second)
        self._wrong = Rate(WRONG_TOKENS, 10)
        self._streams, self._calls = Slots(*STREAMS), Slots(*CALLS)

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
        # who has tried too many wrong tokens is not told of a right one either, or guessing would go on as before
        if self.logins.needed and "authorization" in headers and self._wrong.spent(_client(scope)):
            await answer(send, 429, "too many wrong tokens: wait a while")
            return
        if not self.logins.admits(headers):
            await self._ask_for_token(scope, headers, send)
            return
        await self._admit(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, if its client has not too many open."""
        client = _client(scope)
        slots = self._streams if scope["path"].endswith("/events") else self._calls
        if not slots.take(client):
            await answer(send, 429, "too many calls at a time: close other pages of the studio")
            return
        try:
            await self._pass_on(scope, receive, send)
        finally:
            slots.give(client)

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
        if "authorization" in headers:
            self._wrong.allows(_client(scope))  # counts
        text = "a token is needed: use the address that the studio printed, or send Authorization: Bearer TOKEN"
        await answer(send, 401, text, extra=[(b"www-authenticate", b"Bearer")])

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes, and do not wait for ever: a body without a length may be endless, and one with it slow."""
        limit = self.settings.upload_limit if scope["path"] == UPLOADS else self.settings.json_limit
        came, complete = 0, False

        async def counted() -> Message:
            nonlocal came, complete
            try:  # after the body, what comes is the end of the connection, and that may take as long as it likes
                message = await asyncio.wait_for(receive(), None if complete else BODY_SECONDS)
            except (TimeoutError, asyncio.TimeoutError):
                raise HTTPException(408, "the rest of the body did not come") from None
            complete = not message.get("more_body", False)
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
