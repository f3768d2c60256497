"""One step of a run at a time: the same steps that `build` takes, with the options that the run was planned with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinquant.core.artifact import read_json
from clinquant.core.errors import ClinquantError
from clinquant.lab.build import STEPS, check_options, prepare, run_plan
from clinquant.lab.options import BuildOptions
from clinquant.lab.planning import Plan
from clinquant.lab.run import Narrator, Run


def begin_run(options: BuildOptions, out: Path, narrator: Narrator, *, command: str = "") -> Plan:
    """Reads, audits, splits and plans in `out`; trains nothing. Raises as `build`."""
    run = Run(out, narrator)
    with run.locked():
        prepare(run, options, command)
    return plan_of(run)


def take_step(step: str, out: Path, changes: Mapping[str, Any], narrator: Narrator, *, command: str = "") -> Any:
    """What the step called `step` gives, in a run that was begun.

    Args:
        step: a key of `STEPS`.
        out: the run directory.
        changes: options to change from the plan's; the plan is made anew with them.

    Raises:
        ClinquantError: `run-missing` when `out` is no run, as `check_options` before anything is written, `step-outdated` where a step
            between was left out, and whatever the step raises.
    """
    run = Run(out, narrator)
    if not run.path("plan.json").exists():
        raise ClinquantError(
            "run-missing",
            f"{out} holds no run.",
            fix=f"begin one with 'clinquant split DATA --out {out}', or do all with 'clinquant build'.",
        )
    with run.locked():
        options = plan_of(run).options
        if changes and (changed := changed_options(options, changes)) != options:
            check_options(changed)
            options = run_plan(run, changed, command).options
        _refuse_outdated(run, step)
        return STEPS[step](run, options)


VERBS = {"prove": "compare"}
"""Steps whose command has another name."""

CHANGED = {"float": "float network", "quantized": "integer network", "files": "model files"}
"""What a parent of `lab.run.PARENTS` is, in words."""


def _refuse_outdated(run: Run, step: str) -> None:
    """Raises ClinquantError `step-outdated` where a step before `step` was made from what has been made anew since."""
    for earlier in list(STEPS)[: list(STEPS).index(step)]:
        if parent := run.outdated(earlier):
            verb = VERBS.get(earlier, earlier)
            raise ClinquantError(
                "step-outdated",
                f"{verb} was last done in {run.directory} with another {CHANGED[parent]} than is there now.",
                fix=f"take the steps from 'clinquant {verb} --out {run.directory}' on again, or do all with 'clinquant build'.",
            )


def changed_options(options: BuildOptions, changes: Mapping[str, Any]) -> BuildOptions:
    """`options` with `changes`; a budget goes with the widths that it was given for."""
    dropped = {"max_bytes": None, "max_ms": None} if changes.get("bits", "auto") != "auto" else {}
    return replace(options, **(dropped | dict(changes)))


def plan_of(run: Run) -> Plan:
    """The run's plan."""
    return read_json(run.path("plan.json"), Plan, kind="plan")
