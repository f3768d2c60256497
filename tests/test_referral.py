"""The referral confidence by its stated rule, checked against every possible cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinquant.evidence.referral import choose_referral, plan_referral
from predictions_tables import separated, table


@given(st.integers(0, 2**32 - 1), st.integers(20, 120), st.floats(0.0, 3.0))
def test_the_smallest_confidence_that_halves_the_error_is_chosen(seed: int, n: int, gap: float) -> None:
    scores, labels = separated((n // 2, n - n // 2), seed=seed, gap=gap)
    tune = table(np.round(scores, 1), labels)
    confidence, wrong = tune.probabilities.max(axis=1), tune.decisions != labels
    plan = plan_referral(tune)
    assert plan.below is not None
    kept = confidence >= plan.below
    most = 0.2 if wrong.sum() >= 5 else 0.05
    assert (~kept).mean() <= most + 1e-9 and np.isclose(plan.referred, (~kept).mean()) and np.isclose(plan.error_kept, wrong[kept].mean())
    cuts = [confidence >= c for c in np.unique(confidence)]
    halving = [cut for cut in cuts if (~cut).mean() <= most + 1e-9 and wrong[cut].mean() <= wrong.mean() / 2]
    if wrong.sum() >= 5 and halving:
        assert kept.sum() == max(cut.sum() for cut in halving)
    else:
        assert kept.sum() == min(cut.sum() for cut in cuts if (~cut).mean() <= most + 1e-9)


def test_confidence_lies_between_cases() -> None:
    scores, labels = separated((100, 100), gap=1.0)
    tune = table(scores, labels)
    below = choose_referral(tune)
    assert below is not None and below not in tune.probabilities.max(axis=1)


def test_few_errors_refer_a_twentieth_and_few_cases_none() -> None:
    scores, labels = separated((100, 100), gap=12.0)
    plan = plan_referral(table(scores, labels))
    assert plan.referred == pytest.approx(0.05) and "too few" in plan.rule
    small = table(scores[:19], labels[:19])
    assert choose_referral(small) is None and "fewer than 20" in plan_referral(small).rule
    assert choose_referral(small.take(np.arange(0))) is None


def test_one_confidence_for_all_refers_none() -> None:
    plan = plan_referral(table(np.tile([1.0, 0.0], (50, 1)), [0] * 30 + [1] * 20))
    assert plan.referred == 0.0 and plan.below is not None


def test_errors_are_those_at_the_threshold() -> None:
    scores, labels = separated((60, 60), gap=1.0)
    tune = table(scores, labels)
    assert plan_referral(tune, threshold=0.2, positive=1).error != plan_referral(tune).error
