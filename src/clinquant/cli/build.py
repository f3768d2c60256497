"""clinquant build."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import as_json, data, out, planning, strict
from clinquant.cli.output import show
from clinquant.core.errors import Exit

if TYPE_CHECKING:
    from clinquant.evidence.evidence import Evidence


@click.command("build")
@data
@out
@planning
@strict
@as_json
def command(out: Path, strict: bool, as_json: bool, **choices: Any) -> int:
    """Do the whole job: DATA, labelled images, becomes a proven integer bundle in DIR.

    DATA is a folder with one sub-folder a class, a CSV manifest (path, label, and optionally patient, split, site,
    and columns on the patients for subgroups), a MedMNIST file or
    its name. The same command resumes a run that was stopped. Exits with 0 whatever the verdict is, unless --strict.
    """
    return build_and_tell(out, strict, as_json, choices)


def build_and_tell(out: Path, strict: bool, as_json: bool, choices: dict[str, Any]) -> int:
    """Builds, prints the verdict and what to type next, and returns the exit code."""
    from clinquant.evidence.claims import Verdict
    from clinquant.lab.build import build
    from clinquant.lab.options import BuildOptions

    typed = f"clinquant {shlex.join(sys.argv[1:])}"
    evidence = build(BuildOptions(**choices), out, Narrator(quiet=as_json), command=typed)
    show(evidence, _text(evidence, out), kind="evidence", as_json=as_json)
    return int(Exit.NOT_PROVEN if strict and evidence.verdict is not Verdict.NON_INFERIOR else Exit.OK)


def _text(evidence: Evidence, out: Path) -> str:
    size = evidence.files["integer"].bytes / evidence.files["float"].bytes
    time = evidence.latency["integer"].median_ms / evidence.latency["float"].median_ms
    bundle = shlex.quote(str(out / "bundle"))
    return "\n".join(
        (
            "",
            evidence.summary,
            "",
            f"The integer file has {size:.2f} of the float's bytes and takes {time:.2f} of its time "
            f"({evidence.latency['integer'].median_ms:.2f} ms an image); both decide alike in {evidence.agreement:.2%} of the test cases.",
            f"Read {out / 'report.html'}; ship {out / 'bundle'}; the float file is {out / 'float.onnx'}.",
            "",
            f"Next: clinquant predict {bundle} IMAGE...",
        )
    )
