"""What a test set of a given size can decide, before any training, and how many units would decide what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from clinquant.evidence.interval import Interval, Stratum, reach_with_unseen
from clinquant.evidence.tango import tango_interval

MOST_UNITS = 10**6
"""A claim that more units than this would be needed for is said to be undecidable (None) instead."""

BLIND = 0.5
"""What a case that ranks at random keeps of its AUC of 1, and so what it loses."""


@dataclass(frozen=True, kw_only=True)
class Decidable:
    """Whether a claim can be decided at all with the units at hand, in the best case: not one case flips.

    Attributes:
        metric, class_name: as in `Claim`; `class` in JSON.
        limited_by: the class whose number of units decides it, or None when all units count.
        units: of `limited_by` (of all classes when None), each independent: images, or patients with several images.
        needed: the fewest such units that decide at the margin; None when no number does.
        decidable: True when `units` are enough.
        smallest_margin: the claim could be decided at any margin above this one; in [0, 1].
    """

    metric: str
    class_name: str | None = field(metadata={"json": "class"})
    limited_by: str | None
    units: int
    needed: int | None
    decidable: bool
    smallest_margin: float


def decidable(
    units_by_class: Mapping[str, int], margin: float, positive: int | None = None, confidence: float = 0.95
) -> tuple[Decidable, ...]:
    """Which claims a test set can decide at `margin`, and which margin it could: AUC, accuracy, then each class.

    Args:
        units_by_class: independent units of each class, in the order of the study's classes.
        margin: of non-inferiority, 0 to 1.
        positive: index of the diseased class when there are two; its claim is `sensitivity`, the other's `specificity`.
        confidence: of the two-sided interval.
    """
    names = list(units_by_class)
    metrics = ["recall"] * len(names)
    if positive is not None:
        metrics = ["sensitivity" if k == positive else "specificity" for k in range(len(names))]
    proportions = [("accuracy", None, sum(units_by_class.values())), *zip(metrics, names, units_by_class.values(), strict=True)]
    return (
        _auc_decidable(units_by_class, margin, confidence),
        *(_proportion_decidable(metric, name, units, margin, confidence) for metric, name, units in proportions),
    )


def cases_needed(margin: float, confidence: float = 0.95) -> int:
    """Fewest cases at which Tango's interval shows a loss below `margin` when not one of them flips: 189 at 0.02."""
    needed = units_to_decide(lambda n: tango_interval(0, 0, n, confidence), 1, margin)
    if needed is None:
        raise ValueError(f"no number of cases decides at the margin {margin}")
    return needed


def smallest_margin(cases: int, confidence: float = 0.95) -> float:
    """The loss that `cases` cases without a single flip leave possible: z^2 / (n + z^2), from Tango's interval."""
    return -tango_interval(0, 0, cases, confidence).lower


def macro_strata(units: Sequence[float], images: Sequence[float]) -> tuple[Stratum, ...]:
    """Each class as units that may fail unseen, with the macro AUC that goes with them.

    A failed case is one that the file has gone blind to: its scores rank at random. In class k's one-versus-rest AUC it falls from 1
    to 1/2; for one other class j, of whose counter-cases it is n_k / (n - n_j), as far; the macro mean divides by K. So the share of
    class k is (1 + max_j n_k / (n - n_j)) / 2K: 1/2 with two classes, about 1 / 2K with many. A case ranked last costs twice that, but
    is decided wrongly too, which accuracy, sensitivity and specificity hold against the file in full.

    Args:
        units: independent units of each class.
        images: cases of each class, in the same order.
    """
    k, total = len(units), sum(images)
    strata = []
    for own, (n_units, n_images) in enumerate(zip(units, images, strict=True)):
        elsewhere = [n_images / (total - other) for j, other in enumerate(images) if j != own and total > other]
        strata.append(Stratum(n_units, BLIND * min(1.0, (1.0 + max(elsewhere, default=1.0)) / k)))
    return tuple(strata)


def units_to_decide(projected: Callable[[int], Interval], units: int, margin: float) -> int | None:
    """The fewest units, from `units` up, at which the projected interval lies on one side of -margin; None if none does.

    Args:
        projected: the interval to expect with so many units; narrows as they grow.
        units: where to start.
        margin: of non-inferiority.
    """

    def decides(n: int) -> bool:
        interval = projected(n)
        return interval.lower > -margin or interval.upper < -margin

    low, high = units - 1, max(units, 1)
    while not decides(high):
        low, high = high, 2 * high
        if high > MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _proportion_decidable(metric: str, name: str | None, units: int, margin: float, confidence: float) -> Decidable:
    needed = cases_needed(margin, confidence)
    return Decidable(
        metric=metric,
        class_name=name,
        limited_by=name,
        units=units,
        needed=needed,
        decidable=units >= needed,
        smallest_margin=smallest_margin(units, confidence),
    )


def _auc_decidable(units_by_class: Mapping[str, int], margin: float, confidence: float) -> Decidable:
    units = list(units_by_class.values())

    def unseen(times: float) -> list[float]:
        scaled = [times * n for n in units]
        return [reach_with_unseen(0.0, stratum, confidence) for stratum in macro_strata(scaled, units)]

    losses = unseen(1.0)
    worst = max(range(len(units)), key=lambda k: losses[k])
    return Decidable(
        metric="auc",
        class_name=None,
        limited_by=list(units_by_class)[worst],
        units=units[worst],
        needed=units_to_decide(lambda n: Interval(-max(unseen(n / units[worst])), 1.0), 1, margin) if units[worst] else None,
        decidable=losses[worst] < margin,
        smallest_margin=losses[worst],
    )
