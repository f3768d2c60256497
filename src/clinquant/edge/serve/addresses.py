"""By which names and addresses other machines reach this one."""

from __future__ import annotations

import socket
from contextlib import suppress

PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses kept for documentation (RFC 5737, RFC 3849): to aim a datagram socket at one sends nothing, and tells which of ours would."""


def machine_names() -> tuple[str, ...]:
    """This machine's host name, as it is and as multicast DNS tells it to a local network."""
    full = socket.gethostname().lower()
    name = full.partition(".")[0]
    return tuple(dict.fromkeys(("localhost", full, name, f"{name}.local"))) if name and full.isascii() else ("localhost",)


def network_addresses() -> tuple[str, ...]:
    """Addresses of this machine on the networks it is on; loopback left out."""
    found: list[str] = []
    for family, target in PROBES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(probe.getsockname()[0])
        except OSError:
            continue
    with suppress(OSError):
        found += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)]
    plain = (address.partition("%")[0] for address in found)
    return tuple(dict.fromkeys(address for address in plain if not address.startswith("127.") and address not in ("::1", "0.0.0.0", "::")))
