"""The operating point against exhaustive search, its tie rule, and malformed rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.decision import decide
from clinquant.evidence.metrics import sensitivity, specificity
from clinquant.evidence.threshold import choose_threshold, parse_rule
from predictions_tables import separated, table


def of_probabilities(probabilities: list[float], labels: list[int]) -> Predictions:
    p = np.array(probabilities)
    return table(np.stack([np.zeros(len(p)), np.log(p / (1 - p))], axis=1), labels)


@st.composite
def tune(draw: st.DrawFn) -> Predictions:
    n = draw(st.integers(2, 30))
    odds = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2))]
    return table(np.stack([np.zeros(n), np.array(odds, float)], axis=1), labels)


def rates(predictions: Predictions, threshold: float, positive: int) -> tuple[float, float]:
    decided = decide(predictions, threshold, positive)
    found = sensitivity(predictions.labels, decided, positive), specificity(predictions.labels, decided, positive)
    assert found[0] is not None and found[1] is not None
    return found[0], found[1]


def every_threshold(predictions: Predictions, positive: int) -> list[float]:
    values = np.unique(predictions.probabilities[:, positive])
    return [0.0, *((values[:-1] + values[1:]) / 2), 1.0]


@given(tune(), st.sampled_from([0, 1]))
def test_youden_is_the_best_of_all(predictions: Predictions, positive: int) -> None:
    chosen = rates(predictions, choose_threshold(predictions, positive), positive)  # type: ignore[arg-type]
    others = [rates(predictions, t, positive) for t in every_threshold(predictions, positive)]
    best = max(sum(each) for each in others)
    assert sum(chosen) == pytest.approx(best, abs=1e-12)
    assert chosen[0] == max(sens for sens, spec in others if sens + spec >= best - 1e-12)


@given(tune(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_a_fixed_rate_is_held_at_the_least_cost(predictions: Predictions, level: float) -> None:
    others = [rates(predictions, t, 1) for t in every_threshold(predictions, 1)]
    sens, spec = rates(predictions, choose_threshold(predictions, 1, f"sens={level}"), 1)  # type: ignore[arg-type]
    assert sens >= level and spec == max(each[1] for each in others if each[0] >= level)
    sens, spec = rates(predictions, choose_threshold(predictions, 1, f"spec={level}"), 1)  # type: ignore[arg-type]
    assert spec >= level and sens == max(each[0] for each in others if each[1] >= level)


def test_the_threshold_lies_midway_between_neighbours() -> None:
    predictions = of_probabilities([0.1, 0.3, 0.5, 0.9], [0, 0, 1, 1])
    assert choose_threshold(predictions, 1) == pytest.approx(0.4)
    assert choose_threshold(predictions, 0) == pytest.approx(0.6)
    assert choose_threshold(of_probabilities([0.2, 0.4], [1, 0]), 1, "sens=1") == pytest.approx(0.1)


def test_of_equal_cuts_the_more_sensitive_is_taken() -> None:
    predictions = of_probabilities([0.2, 0.4, 0.6, 0.8], [0, 1, 0, 1])
    assert choose_threshold(predictions, 1) == pytest.approx(0.3)


def test_saturated_probabilities_still_give_every_cut() -> None:
    predictions = table(np.array([[0.0, 90.0], [0.0, 95.0], [95.0, 0.0]]), [0, 0, 1])
    threshold = choose_threshold(predictions, 1, "spec=1")
    assert threshold is not None and threshold > 1.0 and rates(predictions, threshold, 1) == (0.0, 1.0)


def test_argmax_has_no_threshold() -> None:
    scores, labels = separated((5, 5, 5))
    assert choose_threshold(table(scores, labels), None, "argmax") is None


@pytest.mark.parametrize("rule", ["", "yuden", "sens", "sens=0", "sens=1.5", "sens=nan", "spec=x", "youden=1", "argmax=2", "f1=.5"])
def test_malformed_rules_are_refused(rule: str) -> None:
    with pytest.raises(ClinquantError, match="threshold-rule"):
        parse_rule(rule)


def test_rules_that_do_not_fit_are_refused() -> None:
    scores, labels = separated((5, 5))
    with pytest.raises(ClinquantError, match="threshold-rule"):
        choose_threshold(table(scores, labels), None, "youden")
    for alone in (0, 1):
        with pytest.raises(ClinquantError, match="threshold-one-class"):
            choose_threshold(table(scores, np.full(10, alone)), 1)
    with pytest.raises(ClinquantError, match="threshold-without-positive"):
        decide(table(scores, labels), 0.5)
    assert parse_rule("sens=.95") == ("sens", 0.95)
