"""What stands around every answer: security headers, who may ask, and a problem instead of a traceback."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import sys
from collections.abc import Callable, Collection
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clinquant.core.errors import ClinquantError
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.problems import internal, problem

LOG = logging.getLogger("clinquant.serve")

CLOSED_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers that are no page: nothing may be loaded or run."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "content-security-policy": CLOSED_POLICY,
    "cache-control": "no-store",
}
"""On every answer that does not set its own."""


class Guard:
    """Wraps the application.

    Args:
        names: host names that the server is known by, in lower case; an IP address or `localhost` is always taken. Another name means that
            a web site had its own name resolve to this address (DNS rebinding).
        answered: called with the path of the route and the status of every answer.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, names: Collection[str], answered: Callable[[str, int], None]) -> None:
        self._app, self._limits, self._names, self._answered = app, limits, frozenset(names), answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        status, incoming = 0, _Incoming(scope, receive)

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    await incoming.drain(self._limits)
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refusal = self._refusal(Headers(scope=scope))
            await (problem(refusal) if refusal else self._app)(scope, incoming.receive, send_guarded)
        except Exception:
            LOG.error("error[internal]: %s %s", scope["method"], _route(scope), exc_info=sys.exc_info())
            if not status:
                await problem(internal())(scope, incoming.receive, send_guarded)
        finally:
            self._answered(_route(scope), status)

    def _refusal(self, headers: Headers) -> ClinquantError | None:
        size = sum(len(name) + len(value) + 4 for name, value in headers.raw)
        if size > self._limits.header_bytes:
            return ClinquantError("header-too-large", f"{size:,} bytes of header lines.", fix="send fewer or shorter header lines.")
        host = _host(headers.get("host", ""))
        if host is None or not (host in self._names or _is_address(host)):
            return ClinquantError(
                "host-unknown", "the Host header does not name this server.", fix="use its address, or start it with --name NAME."
            )
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return ClinquantError("origin-foreign", "a page of another site sent this.", fix="open this server's own page.")
        return None


class _Incoming:
    """A request's body on its way in, and whether all of it came."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._whole = Headers(scope=scope).get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """The next part."""
        message = await self._receive()
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self, limits: Limits) -> None:
        """Reads and forgets the rest, within bounds: a client that is cut off while it sends may never see why.

        One that waits to be told to continue has sent nothing, and is not told.
        """
        read = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.drain_seconds):
                while not self._whole and read < limits.drain_bytes:
                    read += len((await self.receive()).get("body", b""))


def _route(scope: Scope) -> str:
    """The matched route's own path; what the client wrote could be anything."""
    return str(getattr(scope.get("route"), "path", "other"))


def _host(header: str) -> str | None:
    """The host without its port, in lower case; None where there is none."""
    host, colon, port = header.rpartition(":")
    if not colon or not port.isdigit() or header.endswith("]"):
        host = header
    return host.strip("[]").lower() or None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
