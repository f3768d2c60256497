"""Subgroups: where the integer file loses most, by class, site and whatever else is known of the patients, with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from clinquant.evidence.churn import decisions
from clinquant.evidence.decision import Thresholds
from clinquant.evidence.evidence import Subgroup
from clinquant.evidence.mcnemar import mcnemar_p
from clinquant.evidence.metrics import Ints, Mask
from clinquant.evidence.paired import Paired
from clinquant.evidence.proportions import Proportion

FEWEST_UNITS = 10
"""Smaller subgroups are left out: their intervals would say nothing."""


def subgroups(
    paired: Paired,
    covariates: Mapping[str, Mapping[str, str]],
    thresholds: Thresholds = (None, None),
    positive: int | None = None,
    confidence: float = 0.95,
) -> tuple[Subgroup, ...]:
    """Accuracy of both files in every subgroup of 10 units or more: classes first, then covariates, the greatest loss first in each.

    p is of the hypothesis that as many cases are lost as gained (exact McNemar; with several images a unit the normal approximation with
    the variance by unit), corrected by Holm (1979, Scand J Stat 6:65) over all subgroups here. The intervals are those of the primary
    claims at confidence 1 - (1 - confidence) / m for m subgroups, so that all hold together (Bonferroni), without the bootstrap: Tango's
    at the effective number of cases.

    Args:
        covariates: name -> case id -> value; a case without a value is in no subgroup of that name.
        thresholds: operating points of baseline and candidate.
        positive: index of the diseased class when there are two.
    """
    before, after = (decided == paired.labels for decided in decisions(paired, thresholds, positive))
    members = _members(paired, covariates)
    level = 1.0 - (1.0 - confidence) / max(len(members), 1)
    raw = [_p(before[rows], after[rows], paired.unit_of_case[rows]) for _, _, rows in members]
    found = [
        _subgroup(paired, name, value, rows, before, after, level, p, holm)
        for (name, value, rows), p, holm in zip(members, raw, holm_adjusted(raw), strict=True)
    ]
    order = {name: place for place, name in enumerate(["class", *covariates])}
    return tuple(sorted(found, key=lambda each: (order[each.covariate], each.difference, each.value)))


def holm_adjusted(p: list[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given."""
    order, highest = sorted(range(len(p)), key=p.__getitem__), 0.0
    adjusted = [0.0] * len(p)
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted


def _members(paired: Paired, covariates: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str, Ints]]:
    """(covariate, value, rows) of every subgroup that has units enough; a covariate with one value divides nothing."""
    classes = [("class", name, np.flatnonzero(paired.labels == k)) for k, name in enumerate(paired.baseline.classes)]
    others = []
    for name, values in covariates.items():
        of_case = np.array([values.get(case, "") for case in paired.baseline.ids], dtype=object)
        named = sorted(set(of_case) - {""})
        others += [(name, str(value), np.flatnonzero(of_case == value)) for value in named if len(named) > 1]
    return [(name, value, rows) for name, value, rows in (*classes, *others) if paired.units_among(rows) >= FEWEST_UNITS]


def _p(before: Mask, after: Mask, unit: Ints) -> float:
    change = after.astype(np.int64) - before.astype(np.int64)
    if len(np.unique(unit)) == len(unit):
        return mcnemar_p(int((change < 0).sum()), int((change > 0).sum()))
    sums = np.bincount(np.unique(unit, return_inverse=True)[1], weights=change)
    units, spread = len(sums), float(np.square(sums - sums.mean()).sum())
    if spread == 0.0:
        return 1.0
    return 2.0 * NormalDist().cdf(-abs(float(sums.sum())) / math.sqrt(units / (units - 1) * spread))


def _subgroup(
    paired: Paired, name: str, value: str, rows: Ints, before: Mask, after: Mask, level: float, p: float, holm: float
) -> Subgroup:
    measure = Proportion(paired, rows, before[rows], after[rows], level)
    units = paired.units_among(rows)
    interval = measure.score(1.0 if units == len(rows) else 1.0 / measure.design_effect)
    return Subgroup(
        covariate=name,
        value=value,
        cases=len(rows),
        units=units,
        baseline=float(before[rows].mean()),
        candidate=float(after[rows].mean()),
        difference=float(after[rows].mean() - before[rows].mean()),
        lower=interval.lower,
        upper=interval.upper,
        p=p,
        p_holm=holm,
    )
