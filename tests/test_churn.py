"""Flips, agreement and the assembled pair, against counting by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clinquant.core.artifact import dump_json, from_json, to_json
from clinquant.core.errors import ClinquantError
from clinquant.evidence import pair
from clinquant.evidence.churn import agreement, churn_by_class, churn_by_decile, flips
from clinquant.evidence.claims import Verdict, plan_claims
from clinquant.evidence.evidence import Pair, TestSet
from clinquant.evidence.paired import pair_up
from predictions_tables import NAMES, separated, table


def two(gap: float = 1.0, counts: tuple[int, ...] = (60, 40)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, labels = separated(counts, gap=gap)
    return scores, scores + np.random.default_rng(9).normal(size=scores.shape), labels


def test_every_flip_is_listed_with_both_probabilities() -> None:
    before, after, labels = two()
    a, b = table(before, labels), table(after, labels)
    paired = pair_up(a, b)
    found = flips(paired, (0.3, 0.6), 1)
    p, q = a.probabilities[:, 1], b.probabilities[:, 1]
    expected = np.flatnonzero((p >= 0.3) != (q >= 0.6))
    assert [flip.id for flip in found] == [a.ids[i] for i in expected] and len(found) > 3
    for flip, i in zip(found, expected, strict=True):
        assert (flip.baseline, flip.candidate, flip.label) == (int(p[i] >= 0.3), int(q[i] >= 0.6), labels[i])
        assert (flip.baseline_probability, flip.candidate_probability) == (p[i], q[i])
    assert agreement(paired, (0.3, 0.6), 1) == 1 - len(found) / 100


def test_many_classes_show_the_probability_of_what_was_decided() -> None:
    before, after, labels = two(counts=(20, 20, 20))
    a, b = table(before, labels), table(after, labels)
    for flip in flips(pair_up(a, b)):
        i = a.ids.index(flip.id)
        assert flip.baseline_probability == a.probabilities[i].max() and flip.candidate_probability == b.probabilities[i].max()


def test_churn_adds_up_by_class_and_by_decile() -> None:
    before, after, labels = two(counts=(40, 33, 30))
    paired = pair_up(table(before, labels), table(after, labels))
    was, still = before.argmax(1) == labels, after.argmax(1) == labels
    by_class, by_decile = churn_by_class(paired), churn_by_decile(paired)
    assert [row.cases for row in by_class] == [40, 33, 30] and len(by_decile) == 10
    assert max(row.cases for row in by_decile) - min(row.cases for row in by_decile) <= 1
    for rows in (by_class, by_decile):
        assert sum(row.lost for row in rows) == (was & ~still).sum()
        assert sum(row.gained for row in rows) == (~was & still).sum()
        assert sum(row.lost + row.gained + row.other for row in rows) == len(flips(paired))


def facts(**changes: object) -> TestSet:
    known = {"name": "t", "sha256": "0" * 64, "images": 100, "units": 100, "unit": "image", "images_by_class": {}, "reads": 1}
    return TestSet(**{**known, **changes})  # type: ignore[arg-type]


def test_a_pair_is_assembled_and_travels_as_json() -> None:
    before, after, labels = two(gap=3.0)
    claims = plan_claims(NAMES[:2], 1, {"normal": 60, "benign": 40}, 0.02)
    found = pair.compare_pair(
        table(before, labels), table(after, labels), claims, test=facts(), thresholds=(0.4, 0.5), rule="youden", positive=1,
        temperatures=(1.0, 1.3), bootstraps=100,
    )  # fmt: skip
    assert from_json(Pair, json.loads(json.dumps(to_json(found))), where="pair") == found
    assert json.loads(dump_json(found, kind="pair"))["findings"][2]["class"] == "benign"
    assert found.agreement == 1 - len(found.flips) / 100
    point, confusion = found.operating_points["integer"], found.confusion["integer"]
    assert point.sensitivity == confusion[1][1] / 40 and point.specificity == confusion[0][0] / 60 and point.threshold == 0.5
    assert found.reliability["integer"].temperature == 1.3
    sensitivity = next(f for f in found.findings if f.metric == "sensitivity")
    assert sensitivity.candidate == point.sensitivity


def test_a_pair_with_patients_and_many_classes() -> None:
    scores, labels = separated((300, 200, 100))
    model = table(scores, labels, [f"p{i // 2}" for i in range(600)])
    claims = plan_claims(NAMES[:3], None, dict.fromkeys(NAMES[:3], 50), 0.05)
    found = pair.compare_pair(model, model, claims, test=facts(unit="group of copies"), bootstraps=100)
    assert {finding.unit for finding in found.findings} == {"group of copies"} and found.verdict is Verdict.NON_INFERIOR
    assert found.agreement == 1.0 and found.flips == () and found.operating_points["float"].sensitivity is None


def test_the_test_sets_name_ignores_order_and_nothing_else() -> None:
    sha = pair.test_set_sha256(["a", "b"], [0, 1], ["x", "y"])
    assert sha == pair.test_set_sha256(["b", "a"], np.array([1, 0]), ["y", "x"])  # type: ignore[arg-type]
    others = [(["a", "c"], [0, 1], ["x", "y"]), (["a", "b"], [1, 1], ["x", "y"]), (["a", "b"], [0, 1], ["x", "z"])]
    assert len({sha, *(pair.test_set_sha256(*other) for other in others)}) == 4


def test_pairs_that_do_not_fit_are_refused() -> None:
    scores, labels = separated((5, 5))
    with pytest.raises(ClinquantError, match="compare-cases"):
        pair.compare_pair(table(scores, labels), table(scores[:9], labels[:9]), [], test=facts())
