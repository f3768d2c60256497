"""Claims and findings: what is asserted before the test set is read, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of a claim; the text is advice for a reader."""

    NON_INFERIOR = "NON_INFERIOR"
    INFERIOR = "INFERIOR"
    INCONCLUSIVE = "INCONCLUSIVE"


class Role(StrEnum):
    """Primary claims decide the verdict; secondary ones are reported."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`metric` of the candidate is not worse than the baseline's by `margin` or more.

    Attributes:
        metric: `auc`, `accuracy`, `sensitivity`, `specificity` ...
        class_name: the class it is about, or None for all; `class` in JSON.
        role: primary or secondary.
        margin: in the metric's own unit, 0 to 1, fixed before the test set is read.
        confidence: of the two-sided interval, so the one-sided level is (1 - confidence) / 2.
        threshold: `own` (each file's own operating point), `baseline` (the float's reused), or None where no threshold enters.
    """

    metric: str
    class_name: str | None = field(default=None, metadata={"json": "class"})
    role: Role = Role.PRIMARY
    margin: float = 0.02
    confidence: float = 0.95
    threshold: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim's outcome: a difference with its interval and verdict, never a bare difference.

    Attributes:
        metric, class_name, role, margin, confidence, threshold: as the claim.
        baseline, candidate: the metric of each file, in [0, 1]; None where a class has no case.
        difference: candidate - baseline.
        lower, upper: the interval's ends; decides the verdict.
        method: `patient bootstrap`, `Tango score` ...
        unit: `patient`, `image` or `group`: what is independent.
        n: number of units the interval rests on.
        verdict: of this claim.
        needed: units that would decide at this margin if INCONCLUSIVE, else None.
        shown: figures shown beside and not deciding (DeLong's interval, exact McNemar's p, the smallest margin that would pass).
    """

    metric: str
    class_name: str | None = field(metadata={"json": "class"})
    role: Role
    baseline: float | None
    candidate: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    margin: float
    confidence: float
    method: str
    unit: str
    n: int
    verdict: Verdict
    threshold: str | None = None
    needed: int | None = None
    shown: dict[str, float] | None = None
