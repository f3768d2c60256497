"""Reporting checklists: the items that this run answers itself, with the number, and those that only a person can fill in.

An item that the run answers in part says what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clinquant.data.audit import Audit
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.evidence.evidence import Evidence
from clinquant.report.sections.facts import facts
from clinquant.report.sections.grid import Grid
from clinquant.report.sections.guidelines import GUIDELINES, Item


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """One guideline: how many items are answered, in part among them, the answers, and the topics that a person must fill in."""

    name: str
    grid: Grid
    answered: int
    in_part: int
    total: int
    by_person: str


def checklists(evidence: Evidence, audit: Audit, study: Study, split: Split, plan: Mapping[str, object]) -> tuple[Checklist, ...]:
    """Every guideline, each item answered by a fact of this run or left to a person."""
    known = {name: text for name, text in facts(evidence, audit, study, split, plan).items() if text}
    return tuple(_checklist(name, items, known) for name, items in GUIDELINES.items())


def _checklist(name: str, items: tuple[Item, ...], known: Mapping[str, str]) -> Checklist:
    answered = [item for item in items if item.fact in known]
    left = [f"{item.number} {item.topic}" for item in items if item.fact not in known]
    grid = Grid(
        caption=f"{name}: what this run answers.",
        columns=("Item", "Topic", "Answer", "Left to a person"),
        rows=tuple((item.number, item.topic, known[item.fact or ""], item.left) for item in answered),
        texts=(1, 2, 3),
    )
    in_part = sum(bool(item.left) for item in answered)
    return Checklist(name=name, grid=grid, answered=len(answered), in_part=in_part, total=len(items), by_person="; ".join(left))
