"""Recomputes a bundle's findings from the predictions inside it: nobody has to believe `evidence.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clinquant import __version__
from clinquant.core.artifact import to_json
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.edge.bundle import Bundle
from clinquant.edge.paired import read_paired
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence, Pair
from clinquant.evidence.pair import FILES, compare_pair

TOLERANCE = 1e-9
"""Other processors may add float64 numbers in another order."""

FOLLOWING = ("agreement", "flips", "confusion", "reliability", "operating_points", "churn", "specificity_at", "conformal", "referral")
"""What follows from the predictions besides the findings; what an older bundle does not state is not asked of it."""


def recompute(bundle: Bundle) -> tuple[Finding, ...]:
    """The findings that follow from `predictions.csv`, the claims and the thresholds; all else that follows from them is checked as well.

    Raises:
        ClinquantError: `evidence-differs` when they are not those of `evidence.json`.
    """
    evidence = bundle.evidence
    again = _again(evidence, read_paired(bundle.path / "predictions.csv"))
    _check_findings(bundle, evidence, again.findings)
    for name in FOLLOWING:
        stated, fresh = to_json(getattr(evidence, name)), to_json(getattr(again, name))
        if stated and not _alike(stated, fresh):
            raise ClinquantError(
                "evidence-differs",
                f"{bundle.path}: {name} is not what its predictions give.",
                fix=_advice(evidence),
                exit_code=Exit.REFUSED,
            )
    return again.findings


def _again(evidence: Evidence, tables: Mapping[str, Predictions]) -> Pair:
    points, trust = evidence.operating_points, evidence.reliability
    below = {file: evidence.referral[file].below if file in evidence.referral else None for file in FILES}
    sets = {
        file: [PredictionSets(rule=row.rule, coverage=row.wanted, at_least=row.at_least, cases=row.calibrated_on) for row in rows]
        for file, rows in evidence.conformal.items()
    }
    return compare_pair(
        tables["float"],
        tables["integer"],
        evidence.claims,
        test=evidence.test,
        thresholds=(points["float"].threshold, points["integer"].threshold),
        rule=points["integer"].rule,
        positive=evidence.positive,
        temperatures=(trust["float"].temperature, trust["integer"].temperature),
        refer_below=(below["float"], below["integer"]),
        sets=sets,
    )


def _check_findings(bundle: Bundle, evidence: Evidence, found: Sequence[Finding]) -> None:
    for stated, fresh in zip(evidence.findings, found, strict=True):
        if not _same(stated, fresh):
            raise ClinquantError(
                "evidence-differs",
                f"{bundle.path}: {stated.metric} is stated as {stated.verdict} ({stated.difference}), "
                f"its predictions give {fresh.verdict} ({fresh.difference}).",
                fix=_advice(evidence),
                exit_code=Exit.REFUSED,
            )


def _advice(evidence: Evidence) -> str:
    if evidence.clinquant == __version__:
        return "do not believe this bundle: ask who packed it."
    return f"recompute with clinquant {evidence.clinquant}, which made it (this is {__version__}); if that differs too, do not believe it."


def _same(a: Finding, b: Finding) -> bool:
    numbers = zip((a.baseline, a.candidate, a.lower, a.upper), (b.baseline, b.candidate, b.lower, b.upper), strict=True)
    return (a.metric, a.class_name, a.verdict) == (b.metric, b.class_name, b.verdict) and all(_close(x, y) for x, y in numbers)


def _close(x: float | None, y: float | None) -> bool:
    return x == y if x is None or y is None else math.isclose(x, y, abs_tol=TOLERANCE)


def _alike(stated: Any, fresh: Any) -> bool:
    """Equal JSON, numbers within TOLERANCE."""
    if isinstance(stated, dict) and isinstance(fresh, dict):
        return stated.keys() == fresh.keys() and all(_alike(stated[key], fresh[key]) for key in stated)
    if isinstance(stated, list) and isinstance(fresh, list):
        return len(stated) == len(fresh) and all(map(_alike, stated, fresh))
    if isinstance(stated, float) and isinstance(fresh, float):
        return math.isclose(stated, fresh, abs_tol=TOLERANCE)
    return bool(stated == fresh)
