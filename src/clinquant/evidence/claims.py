"""Claims and findings: what is asserted before the test set is read, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from clinquant.core.errors import ClinquantError
from clinquant.evidence.power import cases_needed


class Verdict(StrEnum):
    """The outcome of a claim: what its interval says of the margin (see `compare.judge`)."""

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
        metric: `auc` (macro one-versus-rest; of P(positive) with two classes), `accuracy`, `sensitivity`, `specificity`, `recall`.
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
class Claims:
    """`claims.json`: what will be tested, written before the test set is read."""

    claims: tuple[Claim, ...]
    test_sha256: str


def check_margin(margin: float) -> None:
    """Raises ClinquantError `margin-invalid` unless the margin lies above 0 and below 1."""
    if not 0.0 < margin < 1.0:
        raise ClinquantError("margin-invalid", f"margin {margin}.", fix="give a margin above 0 and below 1, for example 0.02.")


def plan_claims(
    classes: Sequence[str], positive: int | None, units_by_class: Mapping[str, int], margin: float, confidence: float = 0.95
) -> tuple[Claim, ...]:
    """The claims to write down before the test set is read.

    Primary are AUC and accuracy at argmax; with two classes also sensitivity and specificity at each file's own threshold, each where
    its class has units enough to decide at the margin if no case flips, else secondary. Secondary are the same two at the float's
    threshold reused, or with more classes each class's recall.

    Args:
        classes: class names in the order of the scores.
        positive: index of the diseased class when there are two, else None.
        units_by_class: independent units (images, or patients with several) of each class in the test set.
        margin: of non-inferiority, above 0 and below 1.
        confidence: of the two-sided intervals.

    Raises:
        ClinquantError: `margin-invalid`.
    """
    check_margin(margin)
    needed = cases_needed(margin, confidence)

    def claim(metric: str, role: Role, class_name: str | None = None, threshold: str | None = None) -> Claim:
        return Claim(metric=metric, class_name=class_name, role=role, margin=margin, confidence=confidence, threshold=threshold)

    always = (claim("auc", Role.PRIMARY), claim("accuracy", Role.PRIMARY))
    if positive is None:
        return (*always, *(claim("recall", Role.SECONDARY, name) for name in classes))
    sides = (("sensitivity", classes[positive]), ("specificity", classes[1 - positive]))
    roles = {name: Role.PRIMARY if units_by_class.get(name, 0) >= needed else Role.SECONDARY for _, name in sides}
    own = [claim(metric, roles[name], name, "own") for metric, name in sides]
    reused = [claim(metric, Role.SECONDARY, name, "baseline") for metric, name in sides]
    return (*always, *own, *reused)


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
        n: number of units the interval rests on: of the class for a claim about one, else of the test set.
        verdict: of this claim.
        needed: such units that would decide at this margin if INCONCLUSIVE and all else stayed as seen; None when decided, or when no
            number would (the difference equals the margin, or a class has no case at all).
        shown: figures shown beside and not deciding. All: `smallest_margin` (any above it would pass). AUC: `bootstrap_lower` and
            `bootstrap_upper` (before unseen loss is allowed for), `unseen` (what could be lost if nothing had been seen to change),
            `delong_lower`, `delong_upper`, `smallest_class_units` (of the class that limits what can be decided). Proportions: `lost`
            and `gained` (cases), `mcnemar_p`; with several images a unit also the bootstrap's ends, `unseen` and `design_effect`, and
            McNemar's p is then only indicative, as it takes images for independent.
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
