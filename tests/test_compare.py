"""Verdicts: controls that must come out as they must, oracles for units of several images, and error rates by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.evidence.claims import Claim, Finding, Role, Verdict, plan_claims
from clinquant.evidence.compare import compare, overall
from clinquant.evidence.power import smallest_margin
from clinquant.evidence.proportions import design_effect
from clinquant.evidence.summary import summarise
from clinquant.evidence.tango import tango_interval
from predictions_tables import NAMES, binary, separated, table


def claims_for(predictions: Predictions, positive: int | None, margin: float = 0.02) -> tuple[Claim, ...]:
    units = {
        name: len({g for g, y in zip(predictions.groups, predictions.labels, strict=True) if y == k})
        for k, name in enumerate(predictions.classes)
    }
    return plan_claims(predictions.classes, positive, units, margin)


def outcome(baseline: Predictions, candidate: Predictions, positive: int | None = None, margin: float = 0.02) -> tuple[Finding, ...]:
    thresholds = (0.5, 0.5) if positive is not None else (None, None)
    return compare(baseline, candidate, claims_for(baseline, positive, margin), thresholds=thresholds, positive=positive, bootstraps=500)


def found(findings: tuple[Finding, ...], metric: str) -> Finding:
    return next(finding for finding in findings if finding.metric == metric)


@pytest.mark.parametrize(("counts", "positive"), [((400, 300), 1), ((30, 5), 0), ((200, 90, 40), None), ((40, 0), 1), ((7, 1, 0), None)])
@pytest.mark.parametrize("per_unit", [1, 3])
def test_a_model_against_itself_differs_by_zero(counts: tuple[int, ...], positive: int | None, per_unit: int) -> None:
    scores, labels = separated(counts, gap=1.5)
    model = table(scores, labels, [f"p{i // per_unit}" for i in range(len(labels))])
    for finding in outcome(model, model, positive):
        assert finding.baseline == finding.candidate and finding.difference in (0.0, None)
        assert finding.verdict is not Verdict.INFERIOR
        if finding.difference is not None:
            assert finding.lower is not None and finding.lower < 0.0


def test_enough_agreeing_cases_are_non_inferior() -> None:
    scores, labels = separated((400, 300))
    findings = outcome(table(scores, labels), table(scores, labels), 1)
    assert overall(findings) is Verdict.NON_INFERIOR and all(f.needed is None for f in findings)
    assert summarise(findings).startswith("NON_INFERIOR: on every primary claim the integer model is not worse")


def test_fifteen_positives_are_inconclusive_though_all_agree() -> None:
    scores, labels = separated((1000, 15))
    findings = outcome(table(scores, labels), table(scores, labels), 1)
    assert overall(findings) is Verdict.INCONCLUSIVE
    auc, sensitivity = found(findings, "auc"), found(findings, "sensitivity")
    assert auc.lower == pytest.approx(-smallest_margin(15) / 2) and auc.needed == pytest.approx(1015 * 93 / 15, rel=0.01)
    assert sensitivity.role is Role.SECONDARY and sensitivity.verdict is Verdict.INCONCLUSIVE and sensitivity.needed == 189


def test_breastmnist_sizes_are_inconclusive_and_say_what_would_decide() -> None:
    scores, labels = separated((114, 42), gap=2.0)
    jitter = np.random.default_rng(1).normal(size=scores.shape) * 0.02
    findings = outcome(table(scores, labels), table(scores + jitter, labels), 1)
    assert overall(findings) is Verdict.INCONCLUSIVE
    for finding in findings:
        assert finding.verdict is Verdict.INCONCLUSIVE and finding.needed is not None and finding.needed > finding.n
    assert "of them of the class that limits it; there are 156." in summarise(findings)


@pytest.mark.parametrize(
    ("counts", "positive"), [((500, 40), 1), ((189, 189), 1), ((300, 200, 20), None), ((2000, 500, 300, 100, 20), None)]
)
@pytest.mark.parametrize("per_unit", [1, 2])
def test_a_destroyed_rare_class_is_inferior(counts: tuple[int, ...], positive: int | None, per_unit: int) -> None:
    scores, labels = separated(counts)
    broken, rare = scores.copy(), len(counts) - 1
    broken[labels == rare, rare] -= 8.0
    groups = [f"p{i // per_unit}" for i in range(len(labels))]
    findings = outcome(table(scores, labels, groups), table(broken, labels, groups), positive)
    assert overall(findings) is Verdict.INFERIOR
    assert found(findings, "auc").verdict is Verdict.INFERIOR


def test_two_positives_are_not_said_to_become_proof_of_harm_with_a_few_more() -> None:
    """A bootstrap of two cases that ends at 0 is no harm seen, nor is it when it is scaled to five."""
    scores, labels = separated((120, 2))
    scores[:, 1], scores[:, 0] = np.r_[np.linspace(0, 1, 120), 0.9, 0.6], 0.0
    after = scores.copy()
    after[-1, 1] -= 0.12
    auc = found(outcome(table(scores, labels), table(after, labels), 1), "auc")
    assert auc.verdict is Verdict.INCONCLUSIVE and auc.difference == pytest.approx(-0.0625, abs=0.01)
    assert auc.upper is not None and auc.needed is not None and auc.needed * 2 / 122 > 40


def test_one_positive_case_proves_nothing_against_a_model_either() -> None:
    scores, labels = separated((300, 1))
    broken = scores.copy()
    broken[-1] = [5.0, -5.0]
    auc = found(outcome(table(scores, labels), table(broken, labels), 1), "auc")
    assert auc.verdict is Verdict.INCONCLUSIVE and (auc.lower, auc.upper) == (-1.0, 1.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_order_of_rows_changes_nothing(seed: int, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = separated((25, 15), seed=seed, gap=1.0)
    groups = [f"p{i}" for i in (rng.integers(0, 14, 40) if clustered else range(40))]
    before, after = table(scores, labels, groups), table(scores + rng.normal(size=scores.shape), labels, groups)
    claims = claims_for(before, 1)
    straight = compare(before, after, claims, thresholds=(0.4, 0.6), positive=1, bootstraps=50)
    shuffled = compare(
        before.take(rng.permutation(40)), after.take(rng.permutation(40)), claims, thresholds=(0.4, 0.6), positive=1, bootstraps=50
    )
    assert straight == shuffled


def test_proportions_with_one_image_a_unit_are_tangos() -> None:
    labels = np.array([0] * 200 + [1] * 100)
    before = np.ones(300, bool)
    after = before.copy()
    after[[3, 5, 210]] = False
    findings = outcome(table(binary(before, labels), labels), table(binary(after, labels), labels), 1)
    accuracy = found(findings, "accuracy")
    interval = tango_interval(3, 0, 300)
    assert (accuracy.lower, accuracy.upper) == (interval.lower, interval.upper)
    assert (accuracy.method, accuracy.unit, accuracy.n) == ("Tango score", "image", 300)
    assert accuracy.shown is not None and accuracy.shown["lost"] == 3.0 and accuracy.shown["mcnemar_p"] == pytest.approx(0.25)
    assert found(findings, "sensitivity").n == 100 and found(findings, "specificity").difference == pytest.approx(-0.01)


def test_needed_is_where_the_same_shares_would_decide() -> None:
    labels = np.zeros(150, int)
    after = np.ones(150, bool)
    after[0] = False
    claim = Claim(metric="accuracy")
    (finding,) = compare(table(binary(np.ones(150, bool), labels), labels), table(binary(after, labels), labels), [claim], positive=1)
    n = finding.needed
    assert finding.verdict is Verdict.INCONCLUSIVE and n is not None
    assert tango_interval(n / 150, 0, n).lower > -0.02 >= tango_interval((n - 1) / 150, 0, n - 1).lower


def test_a_threshold_of_its_own_or_the_floats_reused() -> None:
    labels = np.array([0, 0, 1, 1])
    probability = np.array([0.2, 0.35, 0.3, 0.9])
    scores = np.stack([np.zeros(4), np.log(probability / (1 - probability))], axis=1)
    claims = [Claim(metric="sensitivity", class_name="benign", threshold=t) for t in ("own", "baseline", None)]
    own, reused, plain = compare(table(scores, labels), table(scores, labels), claims, thresholds=(0.25, 0.6), positive=1)
    assert (own.baseline, own.candidate) == (1.0, 0.5)
    assert (reused.baseline, reused.candidate) == (1.0, 1.0)
    assert (plain.baseline, plain.candidate) == (0.5, 0.5)


def test_copies_within_a_patient_do_not_narrow_an_interval() -> None:
    """Each patient's image four times over: the interval must not be narrower than that of the patients alone."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 250)
    before, after = rng.random(250) < 0.95, rng.random(250) < 0.95
    single = [table(binary(right, labels), labels) for right in (before, after)]
    groups = [f"p{i:03d}" for i in np.tile(np.arange(250), 4)]
    copied = [table(binary(np.tile(right, 4), np.tile(labels, 4)), np.tile(labels, 4), groups) for right in (before, after)]
    (alone,) = compare(*single, [Claim(metric="accuracy")], positive=1)
    (many,) = compare(*copied, [Claim(metric="accuracy")], positive=1)
    assert many.unit == "patient" and many.n == 250 and many.shown is not None
    assert many.shown["design_effect"] == pytest.approx(4.0, rel=0.01)
    assert many.lower <= alone.lower + 1e-4 and many.upper >= alone.upper - 1e-4  # type: ignore[operator]


def test_patients_without_a_flip_count_as_patients() -> None:
    labels = np.zeros(400, int)
    scores = binary(np.ones(400, bool), labels)
    groups = [f"p{i // 4}" for i in range(400)]
    (finding,) = compare(table(scores, labels, groups), table(scores, labels, groups), [Claim(metric="accuracy")], positive=1)
    assert finding.lower == tango_interval(0, 0, 100).lower and (finding.n, finding.needed) == (100, 189)


def test_the_design_effect_of_whole_absent_and_random_clustering() -> None:
    change = np.array([-1, 0, 0, 0, 1, 0])
    assert design_effect(np.repeat(change, 5), np.repeat(np.arange(6), 5)) == pytest.approx(5 * 6 / 5)
    assert design_effect(np.zeros(12, int), np.repeat(np.arange(4), 3)) == 3.0
    rng = np.random.default_rng(0)
    assert design_effect(rng.integers(-1, 2, 6000), rng.permutation(np.repeat(np.arange(2000), 3))) == pytest.approx(1.0, abs=0.1)


def test_a_class_without_cases_is_said_not_crashed() -> None:
    scores, labels = separated((300, 0))
    findings = outcome(table(scores, labels), table(scores, labels), 1)
    auc, sensitivity = found(findings, "auc"), found(findings, "sensitivity")
    assert auc.baseline is None and auc.needed is None and auc.verdict is Verdict.INCONCLUSIVE
    assert (sensitivity.n, sensitivity.needed, sensitivity.lower) == (0, 189, None)
    assert "no case to measure it on" in summarise(findings)
    scores, labels = separated((300, 300, 0))
    auc = found(outcome(table(scores, labels), table(scores, labels)), "auc")
    assert auc.baseline is not None and auc.verdict is Verdict.INCONCLUSIVE and auc.needed is None


def test_overall_needs_every_primary() -> None:
    scores, labels = separated((5, 5))
    (model,) = compare(table(scores, labels), table(scores, labels), [Claim(metric="accuracy")])

    def finding(verdict: Verdict, role: Role = Role.PRIMARY) -> Finding:
        return replace(model, verdict=verdict, role=role)

    good, bad, open_ = Verdict.NON_INFERIOR, Verdict.INFERIOR, Verdict.INCONCLUSIVE
    assert overall([finding(good), finding(bad), finding(open_)]) is bad
    assert overall([finding(good), finding(open_)]) is open_
    assert overall([finding(good), finding(bad, Role.SECONDARY)]) is good
    assert overall([finding(good, Role.SECONDARY)]) is overall([]) is open_


def test_tables_that_do_not_pair_are_refused() -> None:
    scores, labels = separated((5, 5))
    model = table(scores, labels)
    cases = {
        "compare-cases": model.take(np.arange(9)),
        "compare-labels": table(scores, 1 - labels),
        "compare-groups": table(scores, labels, ["one"] * 10),
        "compare-classes": table(np.zeros((10, 3)), labels),
    }
    for code, other in cases.items():
        with pytest.raises(ClinquantError, match=code):
            compare(model, other, [Claim(metric="auc")])
    with pytest.raises(ClinquantError, match="compare-empty"):
        compare(model.take(np.arange(0)), model.take(np.arange(0)), [])
    with pytest.raises(ClinquantError, match="compare-unlabelled"):
        compare(table(scores, labels - 1), table(scores, labels - 1), [])


@pytest.mark.parametrize(
    "claim",
    [
        Claim(metric="auroc"),
        Claim(metric="auc", class_name=NAMES[0]),
        Claim(metric="accuracy", threshold="mine"),
        Claim(metric="recall", class_name="nobody"),
        Claim(metric="sensitivity", class_name=NAMES[0]),
        Claim(metric="specificity", class_name=NAMES[1]),
    ],
)
def test_claims_that_do_not_fit_are_refused(claim: Claim) -> None:
    scores, labels = separated((5, 5))
    with pytest.raises(ClinquantError, match="claim-invalid"):
        compare(table(scores, labels), table(scores, labels), [claim], positive=1)


def test_sensitivity_without_a_positive_class_is_refused() -> None:
    scores, labels = separated((5, 5, 5))
    with pytest.raises(ClinquantError, match="claim-invalid"):
        compare(table(scores, labels), table(scores, labels), [Claim(metric="sensitivity", class_name=NAMES[0])])


def test_false_passes_stay_rare_when_whole_patients_are_lost() -> None:
    """True loss exactly the margin of 0.05, all images of a patient lost together; small simulation of benchmarks/evidence_type1.py."""
    rng, passes, repetitions = np.random.default_rng(0), 0, 300
    for _ in range(repetitions):
        sizes = rng.integers(1, 6, 120)
        groups = [f"p{g}" for g in np.repeat(np.arange(120), sizes)]
        lost = np.repeat(rng.random(120) < 0.05, sizes)
        labels = np.zeros(len(lost), int)
        before, after = table(binary(np.ones(len(lost), bool), labels), labels, groups), table(binary(~lost, labels), labels, groups)
        (finding,) = compare(before, after, [Claim(metric="accuracy", margin=0.05)], positive=1, bootstraps=200)
        passes += finding.verdict is Verdict.NON_INFERIOR
    assert passes / repetitions <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / repetitions)
