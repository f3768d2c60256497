"""What the commands that take one step of a run have in common."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import given
from clinquant.cli.output import show

NEXT = {"split": "train", "train": "quantize", "quantize": "export", "export": "compare", "compare": "report", "report": "pack"}
"""Step -> the one after it."""


def take(step: str, out: Path, as_json: bool, files: tuple[str, ...], **values: Any) -> Any:
    """Takes one step with the options that were typed, the others being the plan's; prints where the result stands and what comes next."""
    from clinquant.lab.steps import take_step

    changes = given(**values)
    result = take_step(step, out, changes, Narrator(quiet=as_json), command=f"clinquant {shlex.join(sys.argv[1:])}")
    written = [str(out / file) for file in files]
    show({"step": step, "written": written}, f"Result: {', '.join(written)}\n{next_command(step, out)}", kind="step", as_json=as_json)
    return result


def next_command(step: str, out: Path) -> str:
    """The next command to type."""
    folder = shlex.quote(str(out))
    return f"Next: clinquant {NEXT[step]} --out {folder}" if step in NEXT else f"Next: clinquant verify {shlex.quote(str(out / 'bundle'))}"
