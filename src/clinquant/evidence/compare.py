"""Float against integer on the same cases: every claim becomes a finding with an interval and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.bootstrap import bootstrap
from clinquant.evidence.claims import Claim, Finding, Role, Verdict
from clinquant.evidence.decision import Thresholds, decide
from clinquant.evidence.discrimination import Discrimination, discrimination
from clinquant.evidence.interval import Interval
from clinquant.evidence.metrics import Floats, Ints, Mask
from clinquant.evidence.paired import Paired, pair_up
from clinquant.evidence.power import units_to_decide
from clinquant.evidence.proportions import Proportion

Measure = Discrimination | Proportion

CASES: dict[str, Callable[[Ints, int], Mask]] = {
    "accuracy": lambda labels, _: np.ones(len(labels), dtype=np.bool_),
    "sensitivity": lambda labels, of_class: labels == of_class,
    "specificity": lambda labels, of_class: labels == of_class,
    "recall": lambda labels, of_class: labels == of_class,
}
"""Metric -> the cases it is the share of correct decisions among; `of_class` is the index of the claim's class."""


def compare(
    baseline: Predictions,
    candidate: Predictions,
    claims: Sequence[Claim],
    *,
    thresholds: Thresholds = (None, None),
    positive: int | None = None,
    unit_name: str = "patient",
    bootstraps: int = 2000,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """One finding a claim, in the claims' order.

    Args:
        baseline, candidate: the float's and the integer file's predictions of the same cases, in any order.
        claims: as written down before the test set was read.
        thresholds: operating points on P(positive) of baseline and candidate; None decides by the highest score.
        positive: index of the diseased class when there are two.
        unit_name: what a group of several images is; with one image a group the unit is `image`.
        bootstraps: draws of units.
        seed: of the draws.

    Raises:
        ClinquantError: `compare-*` when the tables do not pair (see `pair_up`), `claim-invalid` when a claim does not fit the task.
    """
    paired = pair_up(baseline, candidate, unit_name)
    measures = [_measure(paired, claim, thresholds, positive) for claim in claims]
    differences = _resample(paired, measures, bootstraps, seed)
    return tuple(_finding(*parts) for parts in zip(claims, measures, differences, strict=True))


def overall(findings: Sequence[Finding]) -> Verdict:
    """INFERIOR if any primary finding is, NON_INFERIOR if all are, else (or without any) INCONCLUSIVE.

    All must hold, so no level is split between the primary claims (an intersection-union test, Berger 1982).
    """
    verdicts = [finding.verdict for finding in findings if finding.role is Role.PRIMARY]
    if Verdict.INFERIOR in verdicts:
        return Verdict.INFERIOR
    return Verdict.NON_INFERIOR if verdicts and set(verdicts) == {Verdict.NON_INFERIOR} else Verdict.INCONCLUSIVE


def judge(interval: Interval, margin: float) -> Verdict:
    """NON_INFERIOR when the whole interval lies above -margin, INFERIOR when below, else INCONCLUSIVE."""
    if interval.lower > -margin:
        return Verdict.NON_INFERIOR
    return Verdict.INFERIOR if interval.upper < -margin else Verdict.INCONCLUSIVE


def _measure(paired: Paired, claim: Claim, thresholds: Thresholds, positive: int | None) -> Measure:
    if claim.metric == "auc" and claim.class_name is None:
        return discrimination(paired, claim.confidence)
    chosen = {None: (None, None), "own": thresholds, "baseline": (thresholds[0], thresholds[0])}.get(claim.threshold)
    if claim.metric not in CASES or chosen is None:
        raise _misfit(claim, f"name a metric of auc, {', '.join(CASES)} (auc of all classes), and a threshold own, baseline or null")
    cases = np.flatnonzero(CASES[claim.metric](paired.labels, _class_index(paired, claim, positive)))
    files = zip((paired.baseline, paired.candidate), chosen, strict=True)
    before, after = (decide(file, threshold, positive) == paired.labels for file, threshold in files)
    return Proportion(paired, cases, before[cases], after[cases], claim.confidence)


def _class_index(paired: Paired, claim: Claim, positive: int | None) -> int:
    """The class a claim is about, checked against the task; -1 for all classes."""
    if claim.metric == "accuracy":
        return -1
    classes = paired.baseline.classes
    if claim.class_name not in classes:
        raise _misfit(claim, f"name one of the classes {', '.join(classes)}")
    index = classes.index(claim.class_name)
    fitting = {"recall": index, "sensitivity": positive, "specificity": None if positive is None else 1 - positive}
    if fitting[claim.metric] != index:
        raise _misfit(claim, "claim sensitivity of the positive class, specificity of the other one, or recall")
    return index


def _resample(paired: Paired, measures: Sequence[Measure], bootstraps: int, seed: int) -> list[Floats | None]:
    """Bootstrap differences of each measure on shared draws; None for those that a closed form decides."""
    statistics = [measure.statistic() for measure in measures]
    drawn = [statistic for statistic in statistics if statistic is not None]
    if not drawn:
        return [None] * len(statistics)
    rows = iter(bootstrap(drawn, paired.units, cells=len(paired.labels), bootstraps=bootstraps, seed=seed))
    return [None if statistic is None else next(rows) for statistic in statistics]


def _finding(claim: Claim, measure: Measure, differences: Floats | None) -> Finding:
    measured = measure.baseline is not None
    interval = measure.interval(differences) if measured else None
    verdict = judge(interval, claim.margin) if interval else Verdict.INCONCLUSIVE
    return Finding(
        metric=claim.metric,
        class_name=claim.class_name,
        role=claim.role,
        baseline=measure.baseline,
        candidate=measure.candidate,
        difference=measure.difference if measured else None,
        lower=interval.lower if interval else None,
        upper=interval.upper if interval else None,
        margin=claim.margin,
        confidence=claim.confidence,
        method=measure.method,
        unit=measure.paired.unit,
        n=measure.units,
        verdict=verdict,
        threshold=claim.threshold,
        needed=_needed(claim, measure, differences) if verdict is Verdict.INCONCLUSIVE else None,
        shown={**measure.shown(differences), "smallest_margin": max(0.0, -interval.lower)} if interval else None,
    )


def _needed(claim: Claim, measure: Measure, differences: Floats | None) -> int | None:
    if measure.baseline is None:
        return measure.needed_without_cases(claim.margin)
    return units_to_decide(lambda units: measure.interval(differences, units / measure.units), measure.units, claim.margin)


def _misfit(claim: Claim, fix: str) -> ClinquantError:
    about = f"{claim.metric!r} of class {claim.class_name!r} at threshold {claim.threshold!r}"
    return ClinquantError("claim-invalid", f"the claim on {about} does not fit this task.", fix=f"{fix}.")
