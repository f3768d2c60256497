"""The verb: verify a bundle, load it once, and answer over HTTP."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Say
from clinquant.edge.app.write import write_app
from clinquant.edge.bundle import Bundle, open_bundle
from clinquant.edge.serve.addresses import machine_names, network_addresses
from clinquant.edge.serve.application import application
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.listen import open_port, run
from clinquant.edge.serve.predictor import Predictor

if TYPE_CHECKING:
    from clinquant.edge.serve.authority import Identity


EVERYWHERE = ("0.0.0.0", "::")
"""To listen there is to listen on every address of the machine."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server is reached and what it takes on.

    Attributes:
        host: address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 every network it is on.
        port: 0 takes a free one.
        names: further host names that it is known by.
        tls: answer over HTTPS, with a certificate of this machine's own authority.
        threads: of the runtime.
        limits: of uploads, pictures, queue and connections.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    names: tuple[str, ...] = ()
    tls: bool = False
    threads: int = 1
    limits: Limits = field(default_factory=Limits)


def serve(bundle: Path | str, settings: Settings | None = None, *, say: Say = print) -> None:
    """Answers with the bundle at `bundle` until SIGINT or SIGTERM.

    The hashes are checked and the golden vectors replayed bit for bit before the port is opened.

    Args:
        bundle: the folder.
        settings: how it is reached.
        say: takes each line that the operator should read.

    Raises:
        ClinquantError: as `verify`; `port-busy`, `host-unusable`, `tls-name`, `tls-broken`.
    """
    settings = settings or Settings()
    opened = open_bundle(bundle, replay=True)
    own = _identity(settings) if settings.tls else None
    predictor = Predictor(opened, settings.limits, threads=settings.threads)
    try:
        with _site(opened, say) as site, open_port(settings.host, settings.port) as listening:
            names = {name.lower() for name in (*machine_names(), *settings.names, settings.host)}
            app = application(predictor, settings.limits, names=names, site=site, identity=own)
            port = listening.getsockname()[1]
            run(app, listening, settings.limits, identity=own, ready=lambda: _tell(opened, settings, own, port, say))
    finally:
        predictor.close()


def _identity(settings: Settings) -> Identity:
    from clinquant.edge.serve.authority import identity

    named = (*settings.names, *(() if settings.host in EVERYWHERE else (settings.host,)))
    return identity(named, also=("127.0.0.1", "::1", *machine_names(), *network_addresses()))


def _tell(bundle: Bundle, settings: Settings, own: Identity | None, port: int, say: Say) -> None:
    say(f"{bundle.path} is intact and answers as it was packed.")
    reachable = (*_reachable(settings.host), *settings.names)
    for address in reachable:
        if own and address not in own.names:
            say(f"warning: the certificate does not hold {address}; give --name {address} to see why.")
    urls = [f"{'https' if own else 'http'}://{_in_url(address)}:{port}/" for address in reachable]
    for url in urls:
        say(f"open {url}")
    if own:
        say(f"each tablet must trust this machine's authority once: open {urls[0]}trust on it, or copy {own.authority} to it.")
        say(f"compare its SHA-256 fingerprint: {own.fingerprint}")
    elif not _is_loopback(settings.host):
        say("warning: plain http on a network: images travel unencrypted, and tablets will not install the app, open the camera or check")
        say("warning: signatures. Start with --tls, or keep to 127.0.0.1.")
    say("stop with Ctrl-C.")


@contextmanager
def _site(bundle: Bundle, say: Say) -> Iterator[Path | None]:
    """The tablet app's static files for this bundle; None, said aloud, where there is none for it."""
    with tempfile.TemporaryDirectory(prefix="clinquant-app-") as folder:
        try:
            write_app(bundle.path, Path(folder) / "site")
        except ClinquantError as error:
            say(f"the tablet app is not served: {error.message} Fix: {error.fix}")
            yield None
            return
        yield Path(folder) / "site"


def _reachable(host: str) -> tuple[str, ...]:
    """What to type on another machine, or on this one."""
    return network_addresses() or ("127.0.0.1",) if host in EVERYWHERE else (host,)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
