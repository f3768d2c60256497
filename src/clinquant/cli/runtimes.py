"""clinquant runtimes."""

from __future__ import annotations

import click

from clinquant.cli.options import as_json
from clinquant.cli.output import show, table


@click.command("runtimes")
@as_json
def command(as_json: bool) -> None:
    """List the runtimes that can execute a model file, and which of them are installed."""
    from clinquant.edge.runtimes import RUNTIMES, runtime_module

    found: dict[str, str | None] = {}
    for name in RUNTIMES:
        try:
            found[name] = runtime_module(name).version()
        except ImportError:
            found[name] = None
    show(
        {"runtimes": found},
        table([(name, version or "not installed") for name, version in found.items()]),
        kind="runtimes",
        as_json=as_json,
    )
