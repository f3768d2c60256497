"""What the server takes on at most, so that no request can fill its memory or hold it up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one server.

    Attributes:
        upload_bytes: of a request's body; checked while it arrives.
        pixels: of a picture, read from its header before it is decoded: a small file may claim a size that fills the memory.
        queue: predictions in hand at once, the running one among them; the next is told when to come again.
        upload_seconds: an upload that takes longer is given up.
        header_bytes: of all header lines of a request.
        header_seconds: a connection that has not sent a whole header by then is closed.
        connections: open at once; further ones are closed.
        drain_bytes: of a refused body that are still read and thrown away, so that the client reads our answer before the connection ends.
        drain_seconds: for how long.
    """

    upload_bytes: int = 20_000_000
    pixels: int = 25_000_000
    queue: int = 16
    upload_seconds: float = 30.0
    header_bytes: int = 16_384
    header_seconds: float = 15.0
    connections: int = 256
    drain_bytes: int = 64_000_000
    drain_seconds: float = 3.0
