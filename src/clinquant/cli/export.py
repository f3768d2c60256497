"""clinquant export."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, out, threshold
from clinquant.cli.steps import take


@click.command("export")
@out
@threshold
@as_json
def command(out: Path, as_json: bool, threshold: str) -> None:
    """Write the run's networks as ONNX files, with temperature, threshold and referral chosen on tune."""
    take("export", out, as_json, ("float.onnx", "integer.onnx", "qdq.onnx"), threshold=threshold)
