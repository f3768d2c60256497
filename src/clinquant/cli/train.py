"""clinquant train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clinquant.cli.options import as_json, out, training
from clinquant.cli.steps import take


@click.command("train")
@out
@training
@as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Train the float network of the run in DIR, resuming where it was stopped."""
    take("train", out, as_json, ("float.safetensors", "float.card.json"), **choices)
