"""Where the integer file might lose more than on average: subgroups, corrupted pictures, pictures out of scope."""

from __future__ import annotations

from clinquant.evidence.evidence import Corrupted, Evidence, Subgroup
from clinquant.report.sections.grid import Grid
from clinquant.report.wording import VERDICTS, counted, percent, rate, signed, whole

MOST = 40
"""Subgroups shown, at most; the greatest losses first in each covariate."""

SIGNIFICANT = 0.05


def stress(evidence: Evidence) -> tuple[Grid, ...]:
    """Every table that the evidence has figures for."""
    found = (_subgroups(evidence), _corruptions(evidence), _scope(evidence))
    return tuple(grid for grid in found if grid is not None)


def worst(evidence: Evidence) -> str:
    """The worst class and the worst subgroup in one sentence; empty where there are none."""
    parts = []
    for word, rows in (("class", _of(evidence, True)), ("subgroup", _of(evidence, False))):
        if rows:
            least = min(rows, key=lambda row: row.difference)
            where = least.value if word == "class" else f"{least.covariate} {least.value}"
            parts.append(f"the {word} with the greatest change for the worse is {where} ({signed(least.difference)})")
    lost = [row for row in evidence.subgroups if row.p_holm < SIGNIFICANT and row.difference < 0]
    if not parts:
        return ""
    end = f"{counted(len(lost), 'subgroup')} with a loss that chance does not explain" if lost else "no loss that chance would not explain"
    return f"Of what was looked at, {', and '.join(parts)}; {end} (Holm’s correction, 5%)."


def _of(evidence: Evidence, classes: bool) -> list[Subgroup]:
    return [row for row in evidence.subgroups if (row.covariate == "class") == classes]


def _subgroups(evidence: Evidence) -> Grid | None:
    if not evidence.subgroups:
        return None
    covariates = [row.covariate for row in evidence.subgroups if row.covariate != "class"]
    without = "" if covariates else " The data came without sites or other columns on the patients, so only classes are compared."
    return Grid(
        caption="Share decided right in each subgroup of 10 units or more. "
        f"{worst(evidence)} The intervals hold together (Bonferroni).{without}",
        columns=("Subgroup", "Cases", "Float", "Integer", "Difference", "Interval", "p (Holm)"),
        rows=tuple(
            (
                row.value if row.covariate == "class" else f"{row.covariate}: {row.value}",
                whole(row.cases),
                rate(row.baseline),
                rate(row.candidate),
                signed(row.difference),
                f"{signed(row.lower)} to {signed(row.upper)}",
                rate(row.p_holm),
            )
            for row in evidence.subgroups[:MOST]
        ),
    )


def _corruptions(evidence: Evidence) -> Grid | None:
    if not evidence.corruptions:
        return None
    first = evidence.corruptions[0]
    return Grid(
        caption=f"Both files on the same corrupted pixels of {counted(first.cases, 'test picture')}, accuracy by the highest score; "
        f"without corruption {rate(first.clean['float'])} float and {rate(first.clean['integer'])} integer. A verdict is on the loss of "
        "the integer file against the float file by the margin, secondary. Out of scope: share of these that would not be answered.",
        columns=("Corruption", "Float", "Integer", "Difference", "95% interval", "Verdict", "AUC", "Same decision", "Out of scope"),
        rows=tuple(_corruption(row) for row in evidence.corruptions),
        texts=(5,),
    )


def _corruption(row: Corrupted) -> tuple[str, ...]:
    found = {finding.metric: finding for finding in row.findings}
    accuracy, auc = found["accuracy"], found["auc"]
    return (
        row.words,
        rate(accuracy.baseline),
        rate(accuracy.candidate),
        signed(accuracy.difference),
        f"{signed(accuracy.lower)} to {signed(accuracy.upper)}",
        VERDICTS[accuracy.verdict],
        f"{rate(auc.baseline)} → {rate(auc.candidate)}",
        percent(row.agreement),
        "–" if row.out_of_scope is None else percent(row.out_of_scope),
    )


def _scope(evidence: Evidence) -> Grid | None:
    scope = evidence.scope
    if scope is None:
        return None
    controls = {"blank": "Blank pictures", "noise": "Noise", "blurred": "Test pictures blurred by a tenth of the side"}
    inside = f"{percent(scope.lower)} to {percent(scope.upper)}"
    rows = [("Test pictures, by mistake", percent(scope.inside), inside, whole(scope.cases))]
    rows += [(controls[name], percent(share), "", "") for name, share in scope.controls.items()]
    return Grid(
        caption="Pictures said to be out of scope: unlike the training pictures, so that no class is named. The rule reads pixels and is "
        f"the same for both files; it speaks above a distance of {scope.limit:.2f}.",
        columns=("Pictures", "Out of scope", "95% interval", "Looked at"),
        rows=tuple(rows),
    )
