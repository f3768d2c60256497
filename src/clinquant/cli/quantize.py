"""clinquant quantize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clinquant.cli.options import as_json, out, quantizing
from clinquant.cli.steps import take


@click.command("quantize")
@out
@quantizing
@as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Put the float network of the run in DIR on integers; the recipe is chosen on tune."""
    take("quantize", out, as_json, ("quantized.safetensors", "quantized.json", "recipes.json"), **choices)
