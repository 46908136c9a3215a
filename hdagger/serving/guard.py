"""What stands before every request: who asks, from which page, and how much comes in.

A page of another site can make a browser ask this server. It is refused by the name of the host
that it asks for (so a name that was bound to this machine afterwards is no way in), by its own
origin, and by what the browser says of where it comes from.

References:
    Fetch Metadata Request Headers, W3C. https://www.w3.org/TR/fetch-metadata/
    RFC 6750, Bearer Token Usage. https://www.rfc-editor.org/rfc/rfc6750
"""

import json
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Limits, is_loopback

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets in what may be asked, and puts the headers on every answer.

    Args:
        app: What answers.
        limits: Of the bytes of a request.
        token: What has to be known; None for nothing.
        only_here: Whether only this machine is listened to, by its own names.
    """

    def __init__(self, app: ASGIApp, limits: Limits, token: str | None, only_here: bool) -> None:
        self.app, self.limits, self.token, self.only_here = app, limits, token, only_here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if refusal := self.refusal(scope["path"], headers):
            await _refuse(*refusal, send_guarded)
            return
        await self.app(scope, self.counted(receive), send_guarded)

    def refusal(self, path: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and line for what may not be asked; None for what may.

        Args:
            path: What is asked for.
            headers: Of the request.
        """
        host = headers.get("host", "")
        if self.only_here and not is_loopback(_name(host)):
            return 403, (
                f"Wanted a request to this machine's own name, but got one to {host[:100]!r}. "
                "Try http://127.0.0.1."
            )
        if not path.startswith("/api"):
            return None
        origin = headers.get("origin")
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if elsewhere or (origin is not None and origin.partition("://")[2] != host):
            return 403, (
                f"Wanted a request of this server's own page, but got one of "
                f"{(origin or 'another site')[:100]!r}. Open the page itself."
            )
        if self.token is not None:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            known = secrets.compare_digest(given.strip().encode(), self.token.encode())
            if scheme.lower() != "bearer" or not known:
                return 401, (
                    "Wanted the server's token, but got none, or another. Send it as the header "
                    "'Authorization: Bearer TOKEN'; the server was started with it."
                )
        size = headers.get("content-length", "0")
        if size.isdecimal() and int(size) > self.limits.bytes:
            return 413, self.too_large
        return None

    @property
    def too_large(self) -> str:
        most = self.limits.bytes
        return (
            f"Wanted at most {most} bytes in all, but got more. Crop or shrink the picture, or "
            "start the server with a larger --limit bytes=NUMBER."
        )

    def counted(self, receive: Receive) -> Receive:
        """The same stream, which ends where it is longer than may be."""
        got = 0

        async def receive_counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.limits.bytes:
                raise HTTPException(413, self.too_large)
            return message

        return receive_counted


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


async def _refuse(status: int, line: str, send: Send) -> None:
    body = json.dumps({"error": line}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
