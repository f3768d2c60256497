"""clinquant report."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, out
from clinquant.cli.steps import take


@click.command("report")
@out
@as_json
def command(out: Path, as_json: bool) -> None:
    """Write report.html of the run in DIR: one page that a clinician and an engineer can read."""
    take("report", out, as_json, ("report.html",))
