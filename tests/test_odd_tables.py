"""Odd test sets: evidence and report stay honest on them, and neither falls over."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from clinquant.core.artifact import dump_json
from clinquant.core.predictions import Predictions
from clinquant.evidence.chance import chance_reaches, no_better_than_chance
from clinquant.evidence.claims import Verdict, plan_claims
from clinquant.evidence.compare import compare
from clinquant.evidence.comparison import comparison
from clinquant.evidence.conformal import RULES, calibrate
from clinquant.evidence.evidence import Evidence, Pair
from clinquant.evidence.pair import compare_pair
from clinquant.report.page import render
from sample_report import sample

RNG = np.random.default_rng(1)
TWO = ("well", "sick")


def table(scores: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], groups: list[str] | None = None) -> Predictions:
    ids = tuple(f"{i:04d}.png" for i in range(len(labels)))
    made = {"ids": ids, "groups": tuple(groups or ids), "labels": labels.astype(np.int64), "classes": classes}
    return Predictions(scores=scores.astype(np.float32), model_sha256="0" * 64, runtime="made", **made)  # type: ignore[arg-type]


def judged(before: Predictions, after: Predictions) -> tuple[Pair, str]:
    """The pair as `prove` judges it, and the whole report."""
    arguments = sample(before.classes, cases=12, copies=False)
    units = {name: len({before.groups[i] for i in np.flatnonzero(before.labels == k)}) for k, name in enumerate(before.classes)}
    count = len(set(before.groups))
    evidence: Evidence = arguments["evidence"]
    test = dataclasses.replace(
        evidence.test,
        images=len(before),
        units=count,
        unit="image" if count == len(before) else "patient",
        images_by_class={name: int((before.labels == k).sum()) for k, name in enumerate(before.classes)},
    )
    two = len(before.classes) == 2
    sets = {file: [found for rule in RULES if (found := calibrate(each, rule))] for file, each in (("float", before), ("integer", after))}
    pair = compare_pair(
        before,
        after,
        claims := plan_claims(before.classes, 1 if two else None, units, 0.02),
        test=test,
        thresholds=(0.5, 0.5) if two else (None, None),
        positive=1 if two else None,
        refer_below=(0.7, 0.7),
        sets=sets,
        bootstraps=200,
    )
    changed = {field.name: getattr(pair, field.name) for field in dataclasses.fields(Pair)}
    evidence = dataclasses.replace(evidence, **changed, claims=claims)
    text = dump_json(evidence, kind="evidence")
    assert json.loads(text, parse_constant=pytest.fail) and evidence.verdict is pair.verdict
    page = render(**(arguments | {"evidence": evidence, "predictions": {"float": before, "integer": after}}))
    assert not re.search(r">[^<]*\b(nan|inf)\b[^<]*<", page)
    return pair, page


def noisy(labels: np.ndarray, classes: int) -> np.ndarray:
    scores = RNG.normal(size=(len(labels), classes))
    scores[np.arange(len(labels)), labels] += 2.4
    return scores


def labelled(classes: int, cases: int = 300) -> np.ndarray:
    return RNG.integers(0, classes, cases)


@pytest.mark.parametrize(
    ("name", "labels", "classes"),
    [
        ("five positives", np.repeat([1, 0], [5, 195]), TWO),
        ("a class that the test set lacks", labelled(3), ("a", "b", "c", "gone")),
        ("one class alone", np.zeros(200, np.int64), TWO),
        ("two cases", np.array([0, 1]), TWO),
        ("one case", np.array([1]), TWO),
    ],
)
def test_what_a_small_or_lopsided_set_cannot_show_is_inconclusive(name: str, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    scores = noisy(labels, len(classes))
    pair, _ = judged(table(scores, labels, classes), table(scores, labels, classes))
    assert pair.verdict is Verdict.INCONCLUSIVE, name


def test_twelve_classes_are_judged() -> None:
    labels = labelled(12, 600)
    scores = noisy(labels, 12)
    names = tuple(f"class {k}" for k in range(12))
    pair, page = judged(table(scores, labels, names), table(scores + RNG.normal(0, 0.05, scores.shape), labels, names))
    assert pair.verdict is Verdict.NON_INFERIOR and page.count("class 11") > 3


@pytest.mark.parametrize("groups", [["p0"] * 300, ["p0"] * 150 + [f"p{i}" for i in range(150)]])
def test_one_patient_with_many_images_decides_nothing(groups: list[str]) -> None:
    labels = labelled(2)
    scores = noisy(labels, 2)
    pair, _ = judged(table(scores, labels, TWO, groups), table(scores + RNG.normal(0, 0.2, scores.shape), labels, TWO, groups))
    assert pair.verdict is Verdict.INCONCLUSIVE


def test_probabilities_of_0_and_1_and_files_that_are_always_right() -> None:
    labels = labelled(2, 800)
    sure = np.eye(2)[labels] * 1e4
    pair, _ = judged(table(sure, labels, TWO), table(sure, labels, TWO))
    assert pair.verdict is Verdict.NON_INFERIOR and pair.reliability["integer"].nll == 0.0
    wrong = np.where(RNG.random(800) < 0.1, 1 - labels, labels)
    pair, _ = judged(table(sure, labels, TWO), table(np.eye(2)[wrong] * 1e4, labels, TWO))
    assert pair.verdict is Verdict.INFERIOR and np.isfinite(pair.reliability["integer"].nll)


@pytest.mark.parametrize("classes", [TWO, ("a", "b", "c", "d", "e")])
def test_a_float_file_that_knows_nothing_is_said_to(classes: tuple[str, ...]) -> None:
    labels = labelled(len(classes), 1500)
    flat = np.zeros((1500, len(classes)))
    _, page = judged(table(flat, labels, classes), table(flat, labels, classes))
    assert "not shown to be better than chance" in page
    good = table(noisy(labels, len(classes)), labels, classes)
    assert no_better_than_chance(good) == "" and "better than chance" not in judged(good, good)[1]


def test_compare_says_so_of_its_baseline() -> None:
    labels = labelled(2, 400)
    flat = table(np.zeros((400, 2)), labels, TWO)
    findings = compare(flat, flat, plan_claims(TWO, 1, {"well": 200, "sick": 200}, 0.02), positive=1)
    assert "The baseline file is not shown to be better than chance" in comparison(findings, flat).summary
    assert "better than chance" not in comparison(findings, table(noisy(labels, 2), labels, TWO)).summary


def test_a_file_that_says_the_same_of_all_is_inferior_to_a_good_one() -> None:
    labels = labelled(2, 400)
    pair, _ = judged(table(noisy(labels, 2), labels, TWO), table(np.zeros((400, 2)), labels, TWO))
    assert pair.verdict is Verdict.INFERIOR


def test_chance_reaches_its_bound_in_one_set_of_forty() -> None:
    """Simulated: random scores pass the bound as often as it says; with three classes a little more rarely."""
    for classes, least, most in ((("a", "b"), 0.012, 0.040), (("a", "b", "c"), 0.0, 0.030)):
        beyond = []
        for _ in range(600):
            labels = np.repeat(np.arange(len(classes)), [40, 25, 35][: len(classes)])
            beyond.append(not no_better_than_chance(table(RNG.normal(size=(len(labels), len(classes))), labels, classes)))
        assert least <= np.mean(beyond) <= most
    assert chance_reaches(table(np.zeros((3, 2)), np.zeros(3, np.int64), TWO)) is None
