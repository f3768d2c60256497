"""What `clinquant compare` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinquant.evidence.claims import Finding, Verdict
from clinquant.evidence.compare import overall
from clinquant.evidence.summary import summarise


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The verdict, in one word and in plain words, and the findings it rests on."""

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]


def comparison(findings: Sequence[Finding]) -> Comparison:
    """The findings with their overall verdict."""
    return Comparison(verdict=overall(findings), summary=summarise(findings, "baseline", "candidate"), findings=tuple(findings))
