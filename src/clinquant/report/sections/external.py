"""The same pair of files on other test sets, by the same claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinquant.evidence.claims import Role
from clinquant.evidence.evidence import Evidence, Pair
from clinquant.report.sections.confusion import Confusion, confusions
from clinquant.report.sections.findings import Forest, by_role, forest
from clinquant.report.sections.keyfigures import Figure, discrimination
from clinquant.report.sections.verdict import Outcome, outcome, test_set


@dataclass(frozen=True, kw_only=True)
class External:
    """One test set of another place; `name` is untrusted text."""

    name: str
    outcome: Outcome
    size: str
    forest: Forest | None
    figures: tuple[Figure, ...]
    confusions: tuple[Confusion, ...]


def externals(evidence: Evidence) -> tuple[External, ...]:
    """Every external test set, in the order given."""
    return tuple(_external(pair, evidence.classes) for pair in evidence.external)


def _external(pair: Pair, classes: Sequence[str]) -> External:
    return External(
        name=pair.test.name,
        outcome=outcome(pair),
        size=test_set(pair.test),
        forest=forest(by_role(pair.findings, Role.PRIMARY)),
        figures=discrimination(pair),
        confusions=confusions(pair.confusion, classes),
    )
