"""How many cases a claim needs, against direct search and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinquant.core.errors import ClinquantError
from clinquant.evidence.claims import Role, plan_claims
from clinquant.evidence.metrics import macro_auc
from clinquant.evidence.power import (
    cases_needed,
    decidable,
    macro_strata,
    smallest_margin,
    units_to_decide,
)
from clinquant.evidence.tango import tango_interval

CLASSES = ("normal", "malignant")


def test_tango_needs_189_cases_at_two_hundredths() -> None:
    lowers = [tango_interval(0, 0, n).lower for n in range(1, 400)]
    assert cases_needed(0.02) == 1 + next(i for i, lower in enumerate(lowers) if lower > -0.02) == 189


@given(st.floats(0.002, 0.5))
def test_cases_needed_is_the_least(margin: float) -> None:
    needed = cases_needed(margin)
    assert smallest_margin(needed) < margin <= smallest_margin(needed - 1)


@given(st.integers(0, 5000))
def test_smallest_margin_is_the_closed_form(cases: int) -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    assert smallest_margin(cases) == pytest.approx(z2 / (cases + z2), abs=1e-9)


def test_macro_share_is_a_half_for_two_classes() -> None:
    assert [stratum.share for stratum in macro_strata([100, 15], [300, 20])] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("failing", [0.1, 0.5])
def test_macro_share_bounds_what_failing_cases_cost(failing: float) -> None:
    """A perfect classifier, then a part of one class that ranks at random for itself and one other: costs about that part of the share."""
    counts = [60, 50, 40, 30]
    labels = np.repeat(np.arange(4), counts)
    scores = np.eye(4)[labels] * 5 + np.random.default_rng(0).normal(size=(180, 4)) * 0.1
    assert macro_auc(scores, labels) == 1.0
    for own, stratum in enumerate(macro_strata(counts, counts)):
        losses = []
        for other in set(range(4)) - {own}:
            broken = scores.copy()
            rows = np.flatnonzero(labels == own)[: round(failing * counts[own])]
            for half, sign in ((rows[::2], 1), (rows[1::2], -1)):  # half of them best, half last: at random
                broken[half] = sign * (np.eye(4)[own] - np.eye(4)[other]) * 50
            losses.append(1.0 - macro_auc(broken, labels))  # type: ignore[operator]
        assert 0.6 * failing * stratum.share < max(losses) <= 1.1 * failing * stratum.share


def test_decidable_names_what_breastmnist_cannot_show() -> None:
    by_claim = {(d.metric, d.class_name): d for d in decidable({"normal": 114, "malignant": 42}, 0.02, 1)}
    assert not any(d.decidable for d in by_claim.values())
    sensitivity = by_claim["sensitivity", "malignant"]
    assert (sensitivity.units, sensitivity.needed) == (42, 189) and sensitivity.smallest_margin == pytest.approx(0.0838, abs=1e-4)
    auc = by_claim["auc", None]
    assert (auc.limited_by, auc.units, auc.needed) == ("malignant", 42, 93)
    assert by_claim["accuracy", None].units == 156


def test_decidable_for_many_classes_and_for_a_missing_one() -> None:
    found = decidable({"a": 3000, "b": 100, "c": 400}, 0.02)
    assert [d.metric for d in found] == ["auc", "accuracy", "recall", "recall", "recall"]
    assert found[0].decidable and not found[3].decidable
    missing = decidable({"a": 300, "b": 0}, 0.02, 0)
    assert missing[0].needed is None and not missing[0].decidable and missing[0].limited_by == "b"


@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 150))
def test_decidable_needs_what_it_says(a: int, b: int, c: int) -> None:
    auc = decidable({"a": a, "b": b, "c": c}, 0.02)[0]
    assert auc.needed is not None and auc.decidable == (auc.units >= auc.needed)


def test_nothing_decides_a_difference_at_the_margin() -> None:
    assert units_to_decide(lambda n: tango_interval(0.02 * n, 0, n), 100, 0.02) is None


def test_claims_are_primary_where_units_suffice() -> None:
    claims = plan_claims(CLASSES, 1, {"normal": 500, "malignant": 60}, 0.02)
    roles = {(c.metric, c.class_name, c.threshold): c.role for c in claims}
    assert roles == {
        ("auc", None, None): Role.PRIMARY,
        ("accuracy", None, None): Role.PRIMARY,
        ("sensitivity", "malignant", "own"): Role.SECONDARY,
        ("specificity", "normal", "own"): Role.PRIMARY,
        ("sensitivity", "malignant", "baseline"): Role.SECONDARY,
        ("specificity", "normal", "baseline"): Role.SECONDARY,
    }
    assert all(c.role is Role.PRIMARY for c in plan_claims(CLASSES, 1, {"normal": 189, "malignant": 189}, 0.02) if c.threshold == "own")
    several = plan_claims(("a", "b", "c"), None, {"a": 9, "b": 9, "c": 9}, 0.02)
    assert [c.metric for c in several] == ["auc", "accuracy", "recall", "recall", "recall"]
    assert {c.role for c in several[2:]} == {Role.SECONDARY}


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_must_be_a_share(margin: float) -> None:
    with pytest.raises(ClinquantError, match="margin-invalid"):
        plan_claims(CLASSES, 1, {}, margin)
