"""The churn ledger: which cases the two files decide differently, for better and for worse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clinquant.evidence.decision import Thresholds, decide, decided_probability
from clinquant.evidence.evidence import Churn, Flip
from clinquant.evidence.metrics import Ints
from clinquant.evidence.paired import Paired


def flips(paired: Paired, thresholds: Thresholds = (None, None), positive: int | None = None) -> tuple[Flip, ...]:
    """Every case decided differently, by case id, each file deciding by its own threshold.

    Args:
        paired: the cases of both files.
        thresholds: operating points on P(positive) of baseline and candidate; None decides by the highest score.
        positive: index of the diseased class when there are two.
    """
    before, after = decisions(paired, thresholds, positive)
    chance = decided_probability(paired.baseline, before, positive), decided_probability(paired.candidate, after, positive)
    return tuple(
        Flip(
            id=paired.baseline.ids[i],
            group=paired.baseline.groups[i],
            label=int(paired.labels[i]),
            baseline=int(before[i]),
            candidate=int(after[i]),
            baseline_probability=float(chance[0][i]),
            candidate_probability=float(chance[1][i]),
        )
        for i in np.flatnonzero(before != after)
    )


def agreement(paired: Paired, thresholds: Thresholds = (None, None), positive: int | None = None) -> float:
    """Share of cases that both files decide alike."""
    before, after = decisions(paired, thresholds, positive)
    return float(np.mean(before == after))


def decisions(paired: Paired, thresholds: Thresholds, positive: int | None) -> tuple[Ints, Ints]:
    """[n] decided class of baseline and candidate."""
    return decide(paired.baseline, thresholds[0], positive), decide(paired.candidate, thresholds[1], positive)


def churn_by_class(paired: Paired, thresholds: Thresholds = (None, None), positive: int | None = None) -> tuple[Churn, ...]:
    """One row a class, by the reference standard."""
    return _churn(paired, thresholds, positive, paired.labels, list(paired.baseline.classes))


def churn_by_decile(paired: Paired, thresholds: Thresholds = (None, None), positive: int | None = None) -> tuple[Churn, ...]:
    """Ten rows of nearly equal size by the baseline's highest probability, the least sure first; ties are broken by case id."""
    confidence = paired.baseline.probabilities.max(axis=1)
    ranks = np.empty(len(confidence), dtype=np.int64)
    ranks[np.argsort(confidence, kind="stable")] = np.arange(len(confidence))
    return _churn(paired, thresholds, positive, ranks * 10 // len(ranks), [f"decile {i + 1}" for i in range(10)])


def _churn(paired: Paired, thresholds: Thresholds, positive: int | None, stratum: NDArray[np.int64], names: list[str]) -> tuple[Churn, ...]:
    before, after = decisions(paired, thresholds, positive)
    was, still, moved = before == paired.labels, after == paired.labels, before != after
    kinds = {"lost": was & ~still, "gained": ~was & still, "other": moved & ~was & ~still}
    counts = {kind: np.bincount(stratum[mask], minlength=len(names)) for kind, mask in kinds.items()}
    sizes = np.bincount(stratum, minlength=len(names))
    return tuple(
        Churn(name=name, cases=int(sizes[i]), **{kind: int(count[i]) for kind, count in counts.items()}) for i, name in enumerate(names)
    )
