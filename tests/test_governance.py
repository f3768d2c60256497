"""Checklists and change control: every item is answered by a number of the run or left to a person, and none is lost."""

from __future__ import annotations

import dataclasses

import pytest

from clinquant.report.page import render
from clinquant.report.sections.change import change
from clinquant.report.sections.checklist import CLAIM, GUIDELINES, TRIPOD, checklists, facts
from sample_report import sample

PARTS = ("evidence", "audit", "study", "split", "plan")


def made() -> dict[str, object]:
    return sample()


def test_every_item_is_answered_or_left_to_a_person() -> None:
    arguments = made()
    known = facts(*(arguments[name] for name in PARTS))  # type: ignore[arg-type]
    assert [number for number, _, _ in CLAIM] == [str(i) for i in range(1, 45)]
    assert TRIPOD[-1][0] == "27"
    for name, items in GUIDELINES.items():
        assert {fact for _, _, fact in items if fact} <= known.keys(), name
    for found, items in zip(checklists(*(arguments[name] for name in PARTS)), GUIDELINES.values(), strict=True):  # type: ignore[arg-type]
        left = [part for part in found.by_person.split("; ") if part]
        assert len(found.grid.rows) == found.answered and found.answered + len(left) == found.total == len(items)
        assert any("funding" in part for part in left) or found.name == "TRIPOD+AI"


def test_answers_carry_the_runs_own_numbers() -> None:
    arguments = made()
    evidence, split = arguments["evidence"], arguments["split"]
    known = facts(*(arguments[name] for name in PARTS))  # type: ignore[arg-type]
    assert f"test {len(split.test)}" in known["flow"]  # type: ignore[attr-defined]
    assert evidence.claims_sha256[:16] in known["protocol"]  # type: ignore[attr-defined]
    assert f"{evidence.findings[0].candidate:.3f} integer" in known["performance"]  # type: ignore[attr-defined]
    assert str(len(evidence.flips)) in known["failures"]  # type: ignore[attr-defined]


def test_nothing_known_is_nothing_claimed() -> None:
    """The control: evidence without corruptions, explanations or external sets leaves those items to a person."""
    arguments = made()
    bare = dataclasses.replace(arguments["evidence"], corruptions=(), fidelity=(), external=(), subgroups=(), referral={}, scope=None)  # type: ignore[type-var]
    (claim, *_) = checklists(bare, *(arguments[name] for name in PARTS[1:]))  # type: ignore[arg-type]
    for topic in ("30 robustness", "31 explainability", "33 external testing"):
        assert topic in claim.by_person


def test_change_control_has_three_parts_and_the_hash() -> None:
    arguments = made()
    evidence = arguments["evidence"]
    parts = dict(change(evidence, arguments["split"], arguments["plan"]))  # type: ignore[arg-type]
    assert list(parts) == ["What was modified", "The protocol", "The impact"]
    protocol = {name: text for name, text, _ in parts["The protocol"]}
    assert evidence.claims_sha256 in protocol["Fixed beforehand"]  # type: ignore[attr-defined]
    assert "0.02" in protocol["Acceptance"]
    impact = {name: text for name, text, _ in parts["The impact"]}
    lost = sum(flip.baseline == flip.label for flip in evidence.flips)  # type: ignore[attr-defined]
    assert impact["Risk"].startswith(f"{lost} test case")


@pytest.mark.parametrize("title", ["Change control", "Reporting checklists"])
def test_the_page_has_both(title: str) -> None:
    assert f"<h2>{title}</h2>" in render(**made())  # type: ignore[arg-type]
