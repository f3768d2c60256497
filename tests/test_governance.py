"""Checklists and change control: every item is answered by a number of the run or left to a person, and none is lost."""

from __future__ import annotations

import dataclasses

import pytest

from clinquant.evidence.summary import ordinal
from clinquant.report.page import render
from clinquant.report.sections.change import change
from clinquant.report.sections.checklist import checklists
from clinquant.report.sections.facts import facts
from clinquant.report.sections.guidelines import CLAIM, GUIDELINES, STARD, TRIPOD
from sample_report import sample

PARTS = ("evidence", "audit", "study", "split", "plan")


def made() -> dict[str, object]:
    return sample()


def test_every_item_is_answered_or_left_to_a_person() -> None:
    arguments = made()
    known = facts(*(arguments[name] for name in PARTS))  # type: ignore[arg-type]
    assert [item.number for item in CLAIM] == [str(i) for i in range(1, 45)]
    assert (len(STARD), len(TRIPOD)) == (48, 52)  # rows of 40 and 27 numbered items
    for items, last in ((STARD, 40), (TRIPOD, 27)):
        assert list(dict.fromkeys(int(item.number.rstrip("abcdefg")) for item in items)) == list(range(1, last + 1))
    for name, items in GUIDELINES.items():
        assert {item.fact for item in items if item.fact} <= known.keys(), name
    for found, items in zip(checklists(*(arguments[name] for name in PARTS)), GUIDELINES.values(), strict=True):  # type: ignore[arg-type]
        left = [part for part in found.by_person.split("; ") if part]
        assert len(found.grid.rows) == found.answered and found.answered + len(left) == found.total == len(items)
        assert any("funding" in part for part in left)
        assert found.in_part == sum(bool(row[3]) for row in found.grid.rows) > 0


def test_a_test_set_that_was_read_before_is_not_called_unread() -> None:
    arguments = made()
    evidence = arguments["evidence"]
    once = render(**arguments)  # type: ignore[arg-type]
    again = dataclasses.replace(evidence, test=dataclasses.replace(evidence.test, reads=3))  # type: ignore[attr-defined, type-var]
    page = render(**(arguments | {"evidence": again}))  # type: ignore[arg-type]
    assert "before the test set was read" in once and "before the test set was read" not in page
    assert page.count("its 3rd on this account") >= 3
    assert [ordinal(i) for i in (1, 2, 3, 4, 11, 21, 112)] == ["1st", "2nd", "3rd", "4th", "11th", "21st", "112th"]


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
    parts = dict(change(evidence, arguments["split"]))  # type: ignore[arg-type]
    assert list(parts) == ["What was modified", "The protocol", "The impact"]
    protocol = {name: text for name, text, _ in parts["The protocol"]}
    assert evidence.claims_sha256 in protocol["Fixed beforehand"]  # type: ignore[attr-defined]
    assert "0.02" in protocol["Acceptance"]
    impact = {name: text for name, text, _ in parts["The impact"]}
    lost = sum(flip.baseline == flip.label for flip in evidence.flips)  # type: ignore[attr-defined]
    assert impact["Risk"].startswith(f"{lost} test case")


@pytest.mark.parametrize("title", ["Change control", "Reporting checklists"])
def test_the_report_has_change_control_and_checklists(title: str) -> None:
    assert f"<h2>{title}</h2>" in render(**made())  # type: ignore[arg-type]
