"""clinquant pack."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, out
from clinquant.cli.steps import take


@click.command("pack")
@out
@as_json
def command(out: Path, as_json: bool) -> None:
    """Write the bundle of the run in DIR: one folder with the model, its card, the evidence and what is needed to check them."""
    take("pack", out, as_json, ("bundle",))
