"""All that is measured of two files on one test set, assembled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clinquant.core.artifact import sha256_json
from clinquant.core.predictions import Predictions
from clinquant.core.sets import PredictionSets
from clinquant.evidence.churn import agreement, churn_by_class, churn_by_decile, flips
from clinquant.evidence.claims import Claim
from clinquant.evidence.compare import compare, overall
from clinquant.evidence.conformal import conformal_figures
from clinquant.evidence.decision import Thresholds, decide
from clinquant.evidence.evidence import FILES, OperatingPoint, Pair, TestSet
from clinquant.evidence.fixed_sensitivity import fixed_sensitivity
from clinquant.evidence.metrics import confusion, sensitivity, specificity
from clinquant.evidence.paired import pair_up
from clinquant.evidence.referral import referred
from clinquant.evidence.reliability import reliability
from clinquant.evidence.subgroups import subgroups


def compare_pair(
    baseline: Predictions,
    candidate: Predictions,
    claims: Sequence[Claim],
    *,
    test: TestSet,
    thresholds: Thresholds = (None, None),
    rule: str = "argmax",
    positive: int | None = None,
    temperatures: tuple[float, float] = (1.0, 1.0),
    refer_below: tuple[float | None, float | None] = (None, None),
    sets: Mapping[str, Sequence[PredictionSets]] | None = None,
    covariates: Mapping[str, Mapping[str, str]] | None = None,
    bootstraps: int = 2000,
    seed: int = 0,
) -> Pair:
    """Findings, verdict, flips, agreement, confusion, reliability and operating points of two files on one test set.

    A file decides by its own threshold on P(positive) where it has one, else by the highest score; agreement is the share of cases
    that both decide alike. Every table is keyed `float` and `integer`.

    Args:
        baseline, candidate: predictions of the same cases, in any order.
        claims: written down before.
        test: what is known of the test set; its `unit` names what a group of several images is.
        thresholds: operating points of baseline and candidate.
        rule: that chose them.
        positive: index of the diseased class when there are two.
        temperatures: divisors of the logits folded into each file.
        refer_below: confidences under which each file refers a case.
        sets: rules of prediction sets by file, calibrated on tune.
        covariates: name -> case id -> value, for subgroups.
        bootstraps, seed: of the bootstrap.

    Raises:
        ClinquantError: as `compare`.
    """
    unit_name = "patient" if test.unit == "image" else test.unit
    findings = compare(
        baseline,
        candidate,
        claims,
        thresholds=thresholds,
        positive=positive,
        unit_name=unit_name,
        bootstraps=bootstraps,
        seed=seed,
    )
    paired = pair_up(baseline, candidate, unit_name)
    ordered = {"float": paired.baseline, "integer": paired.candidate}
    files = {"float": (baseline, thresholds[0], temperatures[0]), "integer": (candidate, thresholds[1], temperatures[1])}
    return Pair(
        test=test,
        verdict=overall(findings),
        findings=findings,
        agreement=agreement(paired, thresholds, positive),
        flips=flips(paired, thresholds, positive),
        confusion={name: confusion(p.labels, decide(p, t, positive), len(p.classes)) for name, (p, t, _) in files.items()},
        reliability={name: reliability(p, temperature, bootstraps=bootstraps, seed=seed) for name, (p, _, temperature) in files.items()},
        operating_points={name: operating_point(p, t, rule, positive) for name, (p, t, _) in files.items()},
        churn={"class": churn_by_class(paired, thresholds, positive), "decile": churn_by_decile(paired, thresholds, positive)},
        specificity_at=fixed_sensitivity(paired, positive, bootstraps=bootstraps, seed=seed),
        conformal={name: tuple(conformal_figures(paired, ordered[name], rule) for rule in rules) for name, rules in (sets or {}).items()},
        referral={
            name: referred(paired, ordered[name], below, threshold, positive)
            for name, below, threshold in zip(FILES, refer_below, thresholds, strict=True)
        },
        subgroups=subgroups(paired, covariates or {}, thresholds, positive),
    )


def operating_point(predictions: Predictions, threshold: float | None, rule: str, positive: int | None) -> OperatingPoint:
    """A threshold and the sensitivity and specificity it has on these cases; those are None without a positive class."""
    if positive is None:
        return OperatingPoint(threshold=None, rule=rule)
    decided = decide(predictions, threshold, positive)
    return OperatingPoint(
        threshold=threshold,
        rule=rule,
        sensitivity=sensitivity(predictions.labels, decided, positive),
        specificity=specificity(predictions.labels, decided, positive),
    )


def test_set_sha256(ids: Sequence[str], labels: Sequence[int], images: Sequence[str]) -> str:
    """Hash that names a test set: of its cases' (id, label, sha256 of the image), in the order of the ids, whatever order is given."""
    return sha256_json(sorted([case, int(label), image] for case, label, image in zip(ids, labels, images, strict=True)))
