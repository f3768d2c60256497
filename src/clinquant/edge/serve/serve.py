"""The verb: verify a bundle, load it once, and answer over HTTP."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.edge.bundle import Bundle, open_bundle
from clinquant.edge.serve.addresses import machine_names, network_addresses
from clinquant.edge.serve.application import application
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.listen import open_port, run
from clinquant.edge.serve.predictor import Predictor

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server is reached and what it takes on.

    Attributes:
        host: address to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 every network it is on.
        port: 0 takes a free one.
        names: further host names that it is known by.
        threads: of the runtime.
        limits: of uploads, pictures, queue and connections.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    names: tuple[str, ...] = ()
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
        ClinquantError: as `verify`; `port-busy`, `host-unusable`.
    """
    settings = settings or Settings()
    opened = open_bundle(bundle, replay=True)
    predictor = Predictor(opened, settings.limits, threads=settings.threads)
    try:
        with _site(opened, say) as site, open_port(settings.host, settings.port) as listening:
            names = {name.lower() for name in (*machine_names(), *settings.names, settings.host)}
            app = application(predictor, settings.limits, names=names, site=site)
            port = listening.getsockname()[1]
            run(app, listening, settings.limits, ready=lambda: _tell(opened, settings, port, say))
    finally:
        predictor.close()


def _tell(bundle: Bundle, settings: Settings, port: int, say: Say) -> None:
    say(f"{bundle.path} is intact and answers as it was packed.")
    for address in _reachable(settings.host):
        say(f"open http://{address}:{port}/")
    if not _is_loopback(settings.host):
        say("warning: plain http on a network: images travel unencrypted, and tablets will not install the app, open the camera or check")
        say("warning: signatures. Start with --tls, or keep to 127.0.0.1.")
    say("stop with Ctrl-C.")


@contextmanager
def _site(bundle: Bundle, say: Say) -> Iterator[Path | None]:
    """The tablet app's static files for this bundle; None, said aloud, where this installation has no app."""
    with tempfile.TemporaryDirectory(prefix="clinquant-app-") as folder:
        try:
            write_app = import_module("clinquant.edge.app").write_app
        except ModuleNotFoundError:
            say("the tablet app is not part of this installation: only the API is served.")
            yield None
            return
        try:
            write_app(bundle, Path(folder) / "site")
        except ClinquantError as error:
            say(f"the tablet app is not served: {error.message} Fix: {error.fix}")
            yield None
            return
        yield Path(folder) / "site"


def _reachable(host: str) -> tuple[str, ...]:
    """What to type on another machine, or on this one."""
    found = network_addresses() or ("127.0.0.1",) if host in ("0.0.0.0", "::") else (host,)
    return tuple(f"[{address}]" if ":" in address else address for address in found)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
