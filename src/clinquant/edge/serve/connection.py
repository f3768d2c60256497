"""One HTTP connection: bounded in what it may send before it is answered, and refused with a problem where it is not HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from clinquant.core.errors import ClinquantError
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.problems import MEDIA_TYPE, body


class Connection(H11Protocol):
    """uvicorn's connection, with a time by which a header must be whole, and a bound on what is read of a body that was refused."""

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Opens, unless too many are open."""
        super().connection_made(transport)
        self._waiting: asyncio.TimerHandle | None = None
        self._drained, self._refused = 0, False
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._wait_for_header()

    def data_received(self, data: bytes) -> None:
        """Takes bytes; those of a body whose answer is already given are counted and thrown away."""
        if self._refused or (self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY):
            self._drained += len(data)
            if self._drained > self.limits.drain_bytes:
                self.transport.abort()
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_header()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, and closes a little later: a client that is cut off while it sends may never see why."""
        error = sys.exc_info()[1]
        large = getattr(error, "error_status_hint", 400) == 431
        code, what = ("header-too-large", "the header does not end") if large else ("request-invalid", "what came is not an HTTP request")
        members = body(ClinquantError(code, f"{what}.", fix="send a valid HTTP/1.1 request with a short header."))
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        text = json.dumps(members).encode()
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(text))), ("connection", "close")]
        events: list[Any] = [
            h11.Response(status_code=int(str(members["status"])), headers=headers),
            h11.Data(data=text),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._refused = True
        self.loop.call_later(self.limits.drain_seconds, self.transport.close)

    def _wait_for_header(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.limits.header_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
