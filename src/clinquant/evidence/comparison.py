"""What `clinquant compare` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from clinquant.core.predictions import Predictions
from clinquant.evidence.chance import no_better_than_chance
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


def comparison(findings: Sequence[Finding], baseline: Predictions | None = None) -> Comparison:
    """The findings with their overall verdict; with the baseline's predictions also whether these are better than chance."""
    warning = "" if baseline is None else no_better_than_chance(baseline, "baseline", "candidate")
    summary = summarise(findings, "baseline", "candidate", warning)
    return Comparison(verdict=overall(findings), summary=summary, findings=tuple(findings))
