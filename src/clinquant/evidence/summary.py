"""The verdict in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from clinquant.evidence.claims import Finding, Role, Verdict
from clinquant.evidence.compare import overall

NAMES = {"auc": "AUC"}


def summarise(findings: Sequence[Finding], baseline: str = "float", candidate: str = "integer", warning: str = "") -> str:
    """A few sentences: the verdict, the primary claims it rests on, and the cases that would decide what could not be.

    Args:
        findings: of one test set.
        baseline, candidate: what to call the two files.
        warning: a sentence that stands right after the verdict, such as `no_better_than_chance`.
    """
    primary = [finding for finding in findings if finding.role is Role.PRIMARY]
    sentences = [_headline(overall(findings), f"the {candidate} model", f"the {baseline} model"), *([warning] if warning else [])]
    sentences += [_sentence(finding) for finding in sorted(primary, key=lambda finding: _ORDER.index(finding.verdict))]
    worst = [f for f in findings if f.role is Role.SECONDARY and f.verdict is Verdict.INFERIOR]
    if worst:
        sentences.append(f"Secondary claims that came out worse: {', '.join(_name(finding) for finding in worst)}.")
    return " ".join(sentences)


_ORDER = (Verdict.INFERIOR, Verdict.INCONCLUSIVE, Verdict.NON_INFERIOR)


def _headline(verdict: Verdict, candidate: str, baseline: str) -> str:
    return {
        Verdict.NON_INFERIOR: f"NON_INFERIOR: on every primary claim {candidate} is not worse than {baseline} by the margin.",
        Verdict.INFERIOR: f"INFERIOR: {candidate} is worse than {baseline} by more than the margin.",
        Verdict.INCONCLUSIVE: f"INCONCLUSIVE: this test set cannot show whether {candidate} is worse than {baseline} by the margin.",
    }[verdict]


def _sentence(finding: Finding) -> str:
    if finding.difference is None or finding.lower is None or finding.upper is None:
        return f"{_name(finding)}: the test set has no case to measure it on.{_needed(finding)}"
    interval = f"{finding.confidence:.0%} interval {finding.lower:+.4f} to {finding.upper:+.4f}"
    change = f"{finding.baseline:.4f} to {finding.candidate:.4f}, difference {finding.difference:+.4f}"
    size = f"{finding.n} {_plural(finding)}"
    return f"{_name(finding)}: {change} ({interval}, margin {finding.margin:g}, {size}), {finding.verdict}.{_needed(finding)}"


def _needed(finding: Finding) -> str:
    if finding.verdict is not Verdict.INCONCLUSIVE:
        return ""
    if finding.needed is None:
        return " No realistic number of cases like these would decide it."
    units = finding.n
    share = (finding.shown or {}).get("smallest_class_units")
    of_class = f", {-(-int(share) * finding.needed // units)} of them of the class that limits it" if share and units else ""
    return f" About {finding.needed} {_plural(finding)} would decide it{of_class}; there are {units}."


def _name(finding: Finding) -> str:
    name = NAMES.get(finding.metric, finding.metric.capitalize())
    of_class = f" ({finding.class_name})" if finding.class_name else ""
    return f"{name}{of_class}{' at the reused threshold' if finding.threshold == 'baseline' else ''}"


def _plural(finding: Finding) -> str:
    noun, *rest = finding.unit.split(" ", 1)
    return " ".join([f"{noun}s", *rest])


def before_reading(reads: int) -> str:
    """Whether claims were written before the test set was seen at all."""
    if reads <= 1:
        return "before the test set was read"
    return f"before this reading of the test set, which was its {ordinal(reads)} on this account: only the first was blind"


def ordinal(number: int) -> str:
    """A place in a row.

    >>> ordinal(1), ordinal(2), ordinal(3), ordinal(11), ordinal(22)
    ('1st', '2nd', '3rd', '11th', '22nd')
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
