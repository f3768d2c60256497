"""clinquant compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import OUT_HELP, as_json, margin, positive, seed
from clinquant.cli.output import show, table
from clinquant.cli.steps import next_command
from clinquant.core.errors import Exit

if TYPE_CHECKING:
    from clinquant.evidence.claims import Finding
    from clinquant.evidence.comparison import Comparison
    from clinquant.evidence.evidence import Evidence


@click.command("compare")
@click.argument("baseline", metavar="[BASELINE]", type=click.Path(path_type=Path), required=False)
@click.argument("candidate", metavar="[CANDIDATE]", type=click.Path(path_type=Path), required=False)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
@margin
@positive
@click.option("--at", nargs=2, type=float, metavar="B C", help="Thresholds on P(positive) of the two files  [default: the likelier class]")
@seed
@as_json
def command(
    baseline: Path | None,
    candidate: Path | None,
    out: Path | None,
    margin: float,
    positive: str | None,
    at: tuple[float, float] | None,
    seed: int,
    as_json: bool,
) -> int:
    """Judge whether a candidate is not inferior to its baseline; exits with 3 when a primary claim is not NON_INFERIOR.

    \b
    compare BASELINE.csv CANDIDATE.csv   two tables of predictions of the same labelled cases
    compare BUNDLE                       the evidence again, from the predictions inside; it must come out the same
    compare --out DIR                    the two files of a run, on its locked test set
    """  # noqa: D301  (click reads the \\b as a character: keep these lines as they are)
    from clinquant.evidence.claims import Verdict
    from clinquant.evidence.comparison import comparison

    if out is not None:
        found = comparison(_of_run(out, as_json))
    elif baseline is None:
        raise click.UsageError("give two tables of predictions, a bundle, or --out DIR.")
    else:
        found = _of_tables(baseline, candidate, margin, positive, at, seed) if candidate else _of_bundle(baseline)
    following = f"\n\n{next_command('compare', out)}" if out else ""
    text = f"{table(_rows(found.findings))}\n\n{found.summary}{_recomputed(found)}{following}"
    show(found, text, kind="comparison", as_json=as_json)
    return int(Exit.OK if found.verdict is Verdict.NON_INFERIOR else Exit.NOT_PROVEN)


def _of_run(out: Path, as_json: bool) -> tuple[Finding, ...]:
    from clinquant.lab.steps import take_step

    evidence: Evidence = take_step("prove", out, {}, Narrator(quiet=as_json))
    return evidence.findings


def _of_tables(
    baseline: Path, candidate: Path, margin: float, positive: str | None, at: tuple[float, float] | None, seed: int
) -> Comparison:
    from clinquant.core.predictions import Predictions
    from clinquant.data.positive import positive_class
    from clinquant.evidence.claims import plan_claims
    from clinquant.evidence.compare import compare
    from clinquant.evidence.comparison import comparison
    from clinquant.evidence.paired import pair_up

    before, after = Predictions.read(baseline), Predictions.read(candidate)
    index, _ = positive_class(before.classes, positive)
    units = dict(zip(before.classes, pair_up(before, after).units_by_class(), strict=True))
    claims = plan_claims(before.classes, index, units, margin=margin)
    return comparison(compare(before, after, claims, thresholds=at or (None, None), positive=index, seed=seed), before)


def _of_bundle(path: Path) -> Comparison:
    import dataclasses

    from clinquant.edge.bundle import open_bundle
    from clinquant.edge.paired import read_paired
    from clinquant.edge.recompute import recompute
    from clinquant.evidence.comparison import comparison

    again = recompute(open_bundle(path))
    found = comparison(again.findings, read_paired(path / "predictions.csv")["float"])
    return dataclasses.replace(found, recomputed=again.same, not_recomputed=again.unchecked)


def _recomputed(found: Comparison) -> str:
    if not found.recomputed:
        return ""
    lines = ["", "", f"Computed again from the bundle's tables, and the same: {', '.join(found.recomputed)}."]
    lines += [f"Not computed again: {name} ({why})." for name, why in found.not_recomputed.items()]
    return "\n".join(lines)


def _rows(findings: tuple[Finding, ...]) -> list[tuple[str, ...]]:
    from clinquant.report.wording import counted, plural_unit

    rows: list[tuple[str, ...]] = [("metric", "class", "role", "baseline", "candidate", "difference", "lower", "upper", "n", "verdict")]
    for each in findings:
        numbers = (_number(x) for x in (each.baseline, each.candidate, each.difference, each.lower, each.upper))
        role = each.role.value + (" (baseline's threshold)" if each.threshold == "baseline" else "")
        rows.append(
            (each.metric, each.class_name or "all", role, *numbers, counted(each.n, each.unit, plural_unit(each.unit)), each.verdict.value)
        )
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
