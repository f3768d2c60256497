"""Recomputes a bundle's findings from the predictions inside it: nobody has to believe `evidence.json`."""

from __future__ import annotations

import math

from clinquant import __version__
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.bundle import Bundle
from clinquant.edge.paired import read_paired
from clinquant.evidence.claims import Finding
from clinquant.evidence.compare import compare
from clinquant.evidence.evidence import Evidence

TOLERANCE = 1e-9
"""Other processors may add float64 numbers in another order."""


def recompute(bundle: Bundle) -> tuple[Finding, ...]:
    """The findings that follow from `predictions.csv`, the claims and the thresholds.

    Raises:
        ClinquantError: `evidence-differs` when they are not those of `evidence.json`.
    """
    evidence, tables = bundle.evidence, read_paired(bundle.path / "predictions.csv")
    points = evidence.operating_points
    found = compare(
        tables["float"],
        tables["integer"],
        evidence.claims,
        thresholds=(points["float"].threshold, points["integer"].threshold),
        positive=evidence.positive,
        unit_name="patient" if evidence.test.unit == "image" else evidence.test.unit,
    )
    for stated, fresh in zip(evidence.findings, found, strict=True):
        if not _same(stated, fresh):
            raise ClinquantError(
                "evidence-differs",
                f"{bundle.path}: {stated.metric} is stated as {stated.verdict} ({stated.difference}), "
                f"its predictions give {fresh.verdict} ({fresh.difference}).",
                fix=_advice(evidence),
                exit_code=Exit.REFUSED,
            )
    return found


def _advice(evidence: Evidence) -> str:
    if evidence.clinquant == __version__:
        return "do not believe this bundle: ask who packed it."
    return f"recompute with clinquant {evidence.clinquant}, which made it (this is {__version__}); if that differs too, do not believe it."


def _same(a: Finding, b: Finding) -> bool:
    numbers = zip((a.baseline, a.candidate, a.lower, a.upper), (b.baseline, b.candidate, b.lower, b.upper), strict=True)
    return (a.metric, a.class_name, a.verdict) == (b.metric, b.class_name, b.verdict) and all(_close(x, y) for x, y in numbers)


def _close(x: float | None, y: float | None) -> bool:
    return x == y if x is None or y is None else math.isclose(x, y, abs_tol=TOLERANCE)
