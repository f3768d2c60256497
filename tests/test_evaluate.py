"""A bundle on somebody's own images: classes matched by name, a new threshold judged by cross-validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.core.scope import figures
from clinquant.core.sets import PredictionSets
from clinquant.data.read import read_study
from clinquant.edge.evaluate import cross_validated, evaluate, evaluate_predictions
from clinquant.evidence.scope import fit_scope
from tiny_bundle import CLASSES, card, write_bundle, write_pictures


def table(n: int, *, shift: float, bias: float = 0.0, seed: int = 0, each: int = 1) -> Predictions:
    random = np.random.default_rng(seed)
    labels = (np.arange(n) // each) % 2
    logit = random.normal(size=n) + shift * (2 * labels - 1) + bias
    return Predictions(
        ids=tuple(f"c{i:04d}" for i in range(n)),
        groups=tuple(f"p{i // each:04d}" for i in range(n)),
        labels=labels.astype(np.int64),
        scores=np.stack([np.zeros(n), logit], axis=1).astype(np.float32),
        classes=CLASSES,
        model_sha256="0" * 64,
        runtime="none",
    )


def test_pictures_of_another_folder_are_evaluated(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "clinic", each=6, size=(30, 18))
    found = evaluate(write_bundle(tmp_path), read_study(pictures))
    assert (found.images, found.images_by_class) == (12, {"dark": 6, "bright": 6})
    assert found.auc.value == 1.0 and found.own.confusion == ((6, 0), (0, 6))
    assert found.rechosen is not None and "cross-validation" in found.notes[0]


def test_classes_are_matched_by_name_not_by_place(tmp_path: Path) -> None:
    """A folder sorts `bright` before `dark`, the bundle has them the other way round."""
    study = read_study(write_pictures(tmp_path / "clinic", each=4))
    assert study.classes == ("bright", "dark") != CLASSES
    found = evaluate(write_bundle(tmp_path), study)
    accuracy = found.own.measured[0]
    assert accuracy.value == 1.0


def test_a_strange_class_is_an_error(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "clinic", each=2)
    (pictures / "dark").rename(pictures / "dim")
    with pytest.raises(ClinquantError, match="classes-differ"):
        evaluate(write_bundle(tmp_path), read_study(pictures))


def test_a_shifted_scanner_is_mended_by_a_new_threshold() -> None:
    found = evaluate_predictions(table(400, shift=1.5, bias=3.0), card(), name="shifted")
    assert found.rechosen is not None and found.rechosen.threshold is not None
    own, rechosen = found.own.measured[0].value, found.rechosen.measured[0].value
    assert own is not None and rechosen is not None and own < 0.7 < 0.9 < rechosen
    assert found.rechosen.threshold > 0.8


def test_cross_validation_does_not_flatter() -> None:
    """Where the scores know nothing, the best threshold on the same cases looks better than chance; held-out folds do not."""
    gains = []
    for seed in range(30):
        guess = table(40, shift=0.0, seed=seed)
        decided = cross_validated(guess, 1, "youden", seed=seed)
        gains.append(float((decided == guess.labels).mean()))
    assert abs(float(np.mean(gains)) - 0.5) < 0.05


def test_a_patient_is_never_in_two_folds() -> None:
    """All images of a patient are decided by one threshold: those of the other patients."""
    found = table(60, shift=1.0, each=3)
    again = cross_validated(found.take(np.arange(60)[::-1]), 1, "youden")[::-1]
    assert np.array_equal(cross_validated(found, 1, "youden"), again)


def test_too_few_cases_give_no_new_threshold() -> None:
    only = table(12, shift=1.0).take(np.arange(0, 12, 2))
    found = evaluate_predictions(only, card(), name="one class")
    assert found.rechosen is None and "No threshold was chosen" in found.notes[0]
    assert found.auc.value is None


def test_own_images_out_of_scope_and_coverage_are_told(tmp_path: Path) -> None:
    """A rule fitted on noise around 70 and 190 finds the clinic's like pictures inside, and flat grey ones outside."""
    random = np.random.default_rng(0)
    noisy = [figures((level + random.integers(-40, 41, (16, 16, 3))).astype(np.uint8)) for level in (70, 190) * 40]
    bundle = write_bundle(tmp_path)
    scoped = dataclasses.replace(
        bundle.card,
        scope=fit_scope(np.array(noisy[:50]), np.array(noisy[50:])),
        sets=PredictionSets(rule="lac", coverage=0.9, at_least=(0.2, 0.2), cases=40),
    )
    clinic = write_pictures(tmp_path / "clinic", each=5, size=(16, 16))
    found = evaluate(dataclasses.replace(bundle, card=scoped), read_study(clinic))
    assert found.out_of_scope is not None and found.out_of_scope <= 0.1 and found.coverage == 1.0
    for path in clinic.rglob("*.png"):
        Image.new("RGB", (16, 16), (random.integers(256),) * 3).save(path)
    flat = evaluate(dataclasses.replace(bundle, card=scoped), read_study(clinic))
    assert flat.out_of_scope == 1.0
    assert evaluate_predictions(table(40, shift=1.0), card(), name="x").coverage is None


def test_referral_keeps_the_surer_cases() -> None:
    found = evaluate_predictions(table(400, shift=1.0), dataclasses.replace(card(), refer_below=0.9), name="x")
    own = found.own.measured[0].value
    assert 0 < found.referred < 1 and found.accuracy_kept is not None and own is not None and found.accuracy_kept > own
