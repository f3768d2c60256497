"""What `clinquant compare` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clinquant.evidence.claims import Finding, Verdict
from clinquant.evidence.compare import overall
from clinquant.evidence.summary import summarise


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The verdict, in one word and in plain words, and the findings it rests on.

    Attributes:
        verdict, summary, findings: of the two tables, or of a bundle's own.
        recomputed: of a bundle, the parts of its `evidence.json` that came out the same.
        not_recomputed: of a bundle, the parts that do not follow from its tables -> why.
    """

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]
    recomputed: tuple[str, ...] = ()
    not_recomputed: dict[str, str] = field(default_factory=dict)


def comparison(findings: Sequence[Finding]) -> Comparison:
    """The findings with their overall verdict."""
    return Comparison(verdict=overall(findings), summary=summarise(findings, "baseline", "candidate"), findings=tuple(findings))
