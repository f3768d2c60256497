"""clinquant demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from clinquant.cli.build import build_and_tell
from clinquant.cli.options import OUT_HELP, as_json, planning, strict


@click.command("demo")
@click.option("--out", default="demo", show_default=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
@planning
@strict
@as_json
def command(out: Path, strict: bool, as_json: bool, **choices: Any) -> int:
    """Build on Br35H, 3,000 public brain MRI with and without a tumour, fetched once through pip: see 'clinquant build'."""
    return build_and_tell(out, strict, as_json, {**choices, "data": "br35h"})
