"""clinquant split."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import as_json, data, out, planning
from clinquant.cli.output import show
from clinquant.cli.steps import next_command


@click.command("split")
@data
@out
@planning
@as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Begin a run in DIR: read and audit DATA, decide who trains, tunes and is the locked test, and say the plan. Trains nothing."""
    from clinquant.lab.options import BuildOptions
    from clinquant.lab.steps import begin_run

    typed = f"clinquant {shlex.join(sys.argv[1:])}"
    plan = begin_run(BuildOptions(**choices), out, Narrator(quiet=as_json), command=typed)
    show(plan, f"{out / 'split.json'} and {out / 'plan.json'} are written.\n{next_command('split', out)}", kind="plan", as_json=as_json)
