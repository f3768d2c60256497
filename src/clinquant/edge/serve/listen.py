"""Runs the server: opens the port, answers until it is told to stop, and ends what it has in hand."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.serve.connection import Connection
from clinquant.edge.serve.limits import Limits

if TYPE_CHECKING:
    from clinquant.edge.serve.authority import Identity

GRACE_SECONDS = 10
"""What is being answered when the server is told to stop has this long."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ClinquantError: `port-busy`, `host-unusable`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(host, error) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
        found.setblocking(False)
    except OSError as error:
        found.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ClinquantError(
                "port-busy",
                f"port {port} cannot be used ({error.strerror}).",
                fix="give another --port, above 1023, or end the program that uses it.",
                exit_code=Exit.ENVIRONMENT,
            ) from error
        raise _unusable(host, error) from error
    return found


def run(
    application: ASGIApp, listening: socket.socket, limits: Limits, *, identity: Identity | None = None, ready: Callable[[], None]
) -> None:
    """Answers until SIGINT or SIGTERM; then takes nothing new and finishes what it has in hand.

    Args:
        application: what answers.
        listening: from `open_port`.
        limits: of connections.
        identity: certificate and key for HTTPS; None for plain HTTP.
        ready: called once requests are taken.
    """
    config = uvicorn.Config(
        application,
        http=_bounded(limits),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=identity.chain if identity else None,
        ssl_keyfile=identity.key if identity else None,
    )
    with _stopped_quietly():
        _Server(config, ready).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the door."""
        await super().startup(sockets)
        self._ready()


def _bounded(limits: Limits) -> type[Connection]:
    return type("BoundedConnection", (Connection,), {"limits": limits})


@contextmanager
def _stopped_quietly() -> Iterator[None]:
    """Within it, the signals that uvicorn raises anew once it has stopped do nothing: to be stopped is how a server ends."""
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unusable(host: str, error: OSError) -> ClinquantError:
    return ClinquantError(
        "host-unusable",
        f"cannot listen on {host} ({error.strerror or error}).",
        fix="give an address of this machine: 127.0.0.1 for itself only, 0.0.0.0 for the network.",
        exit_code=Exit.ENVIRONMENT,
    )
