"""clinquant doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from clinquant.cli.options import as_json
from clinquant.cli.output import show, table

if TYPE_CHECKING:
    from clinquant.edge.doctor import Health

CLEARING = (
    "Clear a cache by deleting its folder: it is filled again when it is needed.",
    "Keep test-reads: it is no cache but the count of how often each test set was read.",
)


@click.command("doctor")
@as_json
def command(as_json: bool) -> None:
    """Show versions, the processor, caches and how to clear them, and disk space."""
    from clinquant.edge.doctor import doctor

    health = doctor()
    show(health, _text(health), kind="doctor", as_json=as_json)


def _text(health: Health) -> str:
    speed = (
        "has 8-bit dot products: integers run fast" if health.portable_fast else "has no 8-bit dot products that we know: expect less speed"
    )
    rows = [("clinquant", health.clinquant), ("python", health.python)]
    rows += [(name, version or "not installed") for name, version in health.packages.items()]
    rows += [("processor", f"{health.machine}, {health.cores} cores; {speed}"), ("disk free", _size(health.disk_free))]
    rows += [(f"cache {name}", f"{_size(cache.bytes)} in {cache.path}") for name, cache in health.caches.items()]
    return "\n".join((table(rows), *(CLEARING if health.caches else ())))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
