"""The verdict in words: what was found, of how many primary claims, on whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinquant.evidence.claims import Finding, Role, Verdict
from clinquant.evidence.evidence import Evidence, Pair, TestSet
from clinquant.report.sections.findings import by_role, decides
from clinquant.report.wording import VERDICTS, counted, metric_name, plural_unit, rate, whole

MEANING = {
    Verdict.NON_INFERIOR: "On every primary claim, whatever the integer file loses against the float file is smaller than the margin{}.",
    Verdict.INFERIOR: "The integer file loses more than the margin{} against the float file on at least one primary claim.",
    Verdict.INCONCLUSIVE: "This test set is too small to say: a loss larger than the margin{} is neither shown nor ruled out.",
}


@dataclass(frozen=True)
class Reason:
    """A primary claim that did not hold, and why; `class_name` is untrusted text."""

    code: str
    metric: str
    class_name: str | None
    text: str


@dataclass(frozen=True)
class Outcome:
    """The verdict's code, its word, what it means, how the primary claims came out, and those that did not hold."""

    code: str
    word: str
    meaning: str
    tally: str
    reasons: tuple[Reason, ...]


def outcome(pair: Evidence | Pair) -> Outcome:
    """The overall verdict of one test set."""
    primary = by_role(pair.findings, Role.PRIMARY)
    margins = {finding.margin for finding in primary}
    meaning = MEANING[pair.verdict].format(f" of {margins.pop():g}" if len(margins) == 1 else "")
    failed = [finding for finding in primary if finding.verdict is Verdict.INFERIOR]
    undecided = [finding for finding in primary if finding.verdict is Verdict.INCONCLUSIVE]
    reasons = tuple(_reason(finding) for finding in [*failed, *undecided])
    return Outcome(pair.verdict.value, VERDICTS[pair.verdict], meaning, _tally(primary), reasons)


def _reason(finding: Finding) -> Reason:
    text = decides(finding)
    if finding.verdict is Verdict.INFERIOR:
        least, most = -(finding.upper or 0.0), -(finding.lower or 0.0)
        text = f"{rate(finding.baseline)} float, {rate(finding.candidate)} integer: a loss of {rate(least)} to {rate(most)}"
    return Reason(finding.verdict.value, metric_name(finding.metric), finding.class_name, text)


def test_set(test: TestSet) -> str:
    """Size of a test set in images and independent units."""
    images = counted(test.images, "image")
    return images if test.unit == "image" else f"{images} of {whole(test.units)} {plural_unit(test.unit)}"


def _tally(findings: Sequence[Finding]) -> str:
    """How many primary claims came out each way."""
    if findings and len({finding.verdict for finding in findings}) == 1:
        word = VERDICTS[findings[0].verdict].lower()
        every = {1: "the one primary claim is", 2: "both primary claims are"}.get(len(findings), f"all {len(findings)} primary claims are")
        return f"{every} {word}"
    tally = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    parts = [f"{whole(number)} {VERDICTS[verdict].lower()}" for verdict, number in tally.items() if number]
    return f"{counted(len(findings), 'primary claim')}: {', '.join(parts)}" if findings else "no primary claim"
