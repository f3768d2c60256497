"""How a bundle does on labelled images that it has never met: with its own threshold, and with one chosen anew."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.core.progress import Progress
from clinquant.data.pixels import Pixels
from clinquant.data.study import Study
from clinquant.edge.bundle import Bundle
from clinquant.edge.predict import predict_study
from clinquant.edge.resize import Resizer
from clinquant.evidence.decision import decide
from clinquant.evidence.evidence import Reliability
from clinquant.evidence.measured import Measured, measure_auc, measure_decisions
from clinquant.evidence.metrics import Ints, confusion
from clinquant.evidence.reliability import reliability
from clinquant.evidence.threshold import choose_threshold

FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class AtThreshold:
    """Decisions at one operating point.

    Attributes:
        threshold: on P(positive); None where the highest score decides.
        rule: that chose it.
        chosen_on: `the bundle's tune set` or `these images`.
        measured: accuracy and the rest; for a threshold chosen on these images by cross-validation, since the images that
            chose it would flatter it.
        confusion: rows are true classes, columns decided ones.
    """

    threshold: float | None
    rule: str
    chosen_on: str
    measured: tuple[Measured, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found on somebody's own images.

    Attributes:
        model_sha256, runtime: what was run.
        data: name of the study; `images` and `images_by_class` count it.
        auc: macro AUC, which no threshold enters.
        own: at the bundle's threshold.
        rechosen: at a threshold chosen by the same rule on these images; None with more than two classes or too few cases.
        referred: share of images that the bundle REFERs; `accuracy_kept`: of those it answers, None when it answers none.
        reliability: of its probabilities.
        notes: plain sentences on how to read this.
        out_of_scope: share of images that the bundle would not answer, as unlike its training images; None without such a rule. They are
            in all other figures all the same.
        coverage: share of images whose true class is in the prediction set; None without a rule for sets.
    """

    model_sha256: str
    runtime: str
    data: str
    images: int
    images_by_class: dict[str, int]
    auc: Measured
    own: AtThreshold
    rechosen: AtThreshold | None
    referred: float
    accuracy_kept: float | None
    reliability: Reliability
    notes: tuple[str, ...]
    out_of_scope: float | None = None
    coverage: float | None = None


def evaluate(
    bundle: Bundle,
    study: Study,
    *,
    rule: str | None = None,
    threads: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Runs the bundle's model on every case of `study`; patients, where known, are the unit of all intervals.

    Args:
        bundle: opened, so its hashes are checked.
        study: labelled with the bundle's classes or some of them.
        rule: that chooses the new threshold; default the card's.

    Raises:
        ClinquantError: `classes-differ`, `threshold-rule`, and those of reading images.
    """
    own = relabelled(study, bundle.card)
    units = {case.id: case.group for case in own.cases if case.group is not None}
    predictions = predict_study(bundle.model, own, [case.id for case in own.cases], units, threads=threads, progress=progress)
    found = evaluate_predictions(predictions, bundle.card, name=study.name, rule=rule, seed=seed)
    return dataclasses.replace(found, out_of_scope=_out_of_scope(own, bundle.card))


def _out_of_scope(study: Study, card: Card) -> float | None:
    if card.scope is None:
        return None
    pixels, resize = Pixels(study), Resizer(card.preprocess)
    return float(np.mean([card.scope.excludes(resize(pixels[case.id][None])[0]) for case in study.cases]))


def _coverage(predictions: Predictions, card: Card) -> float | None:
    if card.sets is None:
        return None
    inside = card.sets.members(predictions.probabilities)
    return float(inside[np.arange(len(predictions)), predictions.labels].mean())


def evaluate_predictions(predictions: Predictions, card: Card, *, name: str, rule: str | None = None, seed: int = 0) -> Evaluation:
    """As `evaluate`, from what the model said already."""
    decided = decide(predictions, card.threshold, card.positive)
    rechosen, notes = _rechosen(predictions, card, rule or card.threshold_rule, seed)
    kept = np.ones(len(predictions), np.bool_) if card.refer_below is None else predictions.probabilities.max(axis=1) >= card.refer_below
    counts = np.bincount(predictions.labels, minlength=len(card.classes))
    return Evaluation(
        model_sha256=predictions.model_sha256,
        runtime=predictions.runtime,
        data=name,
        images=len(predictions),
        images_by_class={each: int(count) for each, count in zip(card.classes, counts, strict=True)},
        auc=measure_auc(predictions, seed=seed),
        own=_at(predictions, decided, card, card.threshold, card.threshold_rule, "the bundle's tune set"),
        rechosen=rechosen,
        referred=float(1 - kept.mean()),
        accuracy_kept=float((decided == predictions.labels)[kept].mean()) if kept.any() else None,
        reliability=reliability(predictions, card.temperature),
        notes=notes,
        coverage=_coverage(predictions, card),
    )


def relabelled(study: Study, card: Card) -> Study:
    """`study` with the card's classes in the card's order and its 16-bit window. Raises ClinquantError `classes-differ`."""
    strange = [name for name in study.classes if name not in card.classes]
    if strange:
        raise ClinquantError(
            "classes-differ",
            f"{study.source.path} has the class {strange[0]!r}; the bundle knows {', '.join(card.classes)}.",
            fix="name your classes as the bundle does.",
        )
    index = [card.classes.index(name) for name in study.classes]
    cases = tuple(dataclasses.replace(case, label=index[case.label]) for case in study.cases)
    source = dataclasses.replace(study.source, grey_window=card.grey_window)
    return dataclasses.replace(study, classes=card.classes, positive=card.positive, cases=cases, source=source)


def _rechosen(predictions: Predictions, card: Card, rule: str, seed: int) -> tuple[AtThreshold | None, tuple[str, ...]]:
    if card.positive is None:
        return None, ("With more than two classes the highest score decides: there is no threshold to choose anew.",)
    try:
        threshold = choose_threshold(predictions, card.positive, rule)
        decided = cross_validated(predictions, card.positive, rule, seed=seed)
    except ClinquantError as error:
        if error.code != "threshold-one-class":
            raise
        return None, (f"No threshold was chosen anew: {error.message}",)
    note = (
        f"The new threshold was chosen on these very images; its figures are from {FOLDS}-fold cross-validation by unit, "
        "because the images that chose a threshold flatter it. Confirm it on images that had no part in choosing it."
    )
    return _at(predictions, decided, card, threshold, rule, "these images"), (note,)


def cross_validated(predictions: Predictions, positive: int, rule: str, *, folds: int = FOLDS, seed: int = 0) -> Ints:
    """[n] decisions; each case's by the threshold that the rule chooses on the other folds. Whole units share a fold."""
    fold = _folds(predictions, positive, folds, seed)
    decided = np.empty(len(predictions), np.int64)
    for each in range(folds):
        held = fold == each
        if held.any():
            threshold = choose_threshold(predictions.take(~held), positive, rule)
            decided[held] = decide(predictions.take(held), threshold, positive)
    return decided


def _folds(predictions: Predictions, positive: int, folds: int, seed: int) -> Ints:
    """[n] fold of each case: units that have a positive case are dealt first, then the others, each in an order drawn by `seed`."""
    names, unit = np.unique(np.array(predictions.groups), return_inverse=True)
    sick = np.zeros(len(names), np.bool_)
    np.logical_or.at(sick, unit, predictions.labels == positive)
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = drawn[np.argsort(~sick[drawn], kind="stable")]
    fold_of_unit = np.empty(len(names), np.int64)
    fold_of_unit[order] = np.arange(len(names)) % folds
    return fold_of_unit[unit]


def _at(predictions: Predictions, decided: Ints, card: Card, threshold: float | None, rule: str, chosen_on: str) -> AtThreshold:
    return AtThreshold(
        threshold=threshold,
        rule=rule,
        chosen_on=chosen_on,
        measured=measure_decisions(predictions, decided, card.positive),
        confusion=confusion(predictions.labels, decided, len(card.classes)),
    )
