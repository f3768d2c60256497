"""The ladder: the cheapest way to the asked bits whose exported file holds on tune."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import sha256_json
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import Predictions
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split
from clinquant.data.study import Study
from clinquant.edge.resize import model_pixels
from clinquant.lab.classifier import Classifier
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.fake_quant import ACTIVATION_QUANTIZERS
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RECIPES, begin, named_recipes, run_recipes
from clinquant.lab.recipe import Trial, choose_recipe
from clinquant.lab.run import Run

NAMES = (*RECIPES, *ACTIVATION_QUANTIZERS)
"""What `--recipe` takes beside `auto`: ranges found after training, and quantization-aware training."""


def check_recipe(recipe: str, bits: str) -> None:
    """Raises ClinquantError `recipe-unknown`, or `recipe-unfit` where nothing is left to learn."""
    if recipe != "auto" and recipe not in NAMES:
        raise ClinquantError("recipe-unknown", f"recipe {recipe!r} is not known.", fix=f"use auto or one of: {', '.join(NAMES)}.")
    if recipe in ACTIVATION_QUANTIZERS and bits == "w8a8":
        raise ClinquantError(
            "recipe-unfit", f"recipe {recipe!r} trains grids of fewer than 8 bits.", fix="give --bits w4a4, or --recipe auto."
        )


def climb(
    run: Run, options: BuildOptions, classifier: Classifier, study: Study, parts: Split, baseline: Predictions
) -> tuple[QuantizedNetwork, tuple[Trial, ...]]:
    """The quantized network that the options ask for, and what every recipe tried did on tune.

    `auto` takes the best of the post-training recipes if its file disagrees with the float file on less than the margin of tune, and
    otherwise trains on with LSQ and takes what diverges least.

    Args:
        baseline: the float file's predictions of tune.
    """
    source, key, preprocess = Pixels(study), sha256_json(study), classifier.card.preprocess
    pixels = model_pixels(source, parts.calibration, preprocess, cache=run.path("work"), key=key)
    calibration, learning = Calibration(pixels=pixels, preprocess=preprocess), options.recipe in ACTIVATION_QUANTIZERS
    after = ("mse",) if learning else tuple(RECIPES) if options.recipe == "auto" else (options.recipe,)
    with run.narrator.progress("calibrate") as tick:
        models = run_recipes(begin(classifier, options.bits), replace(calibration, progress=tick), named_recipes(after))
    candidates = {name: model.quantized(name) for name, model in models.items()}
    best, trials = choose_recipe(candidates, baseline, study, parts, run.narrator)
    if not _must_learn(options, best, trials):
        return best, trials
    method = options.recipe if learning else "lsq"
    train, tune = (_labelled(run, study, source, ids, classifier, key) for ids in (parts.train, parts.tune))
    folder = run.path(f"train/{method}-{options.bits}")
    with run.narrator.progress(f"quantization-aware training ({method})") as tick:
        fine_tune = FineTune(train=train, tune=tune, folder=folder, method=method, seed=options.seed, progress=tick)
        learnt = fine_tune(models[best.recipe], calibration).quantized(method)
    trained, more = choose_recipe({method: learnt}, baseline, study, parts, run.narrator)
    trials = (*trials, *more)
    if options.recipe == method or min(trials, key=lambda trial: trial.divergence).recipe == method:
        return trained, trials
    return best, trials


def _must_learn(options: BuildOptions, best: QuantizedNetwork, trials: tuple[Trial, ...]) -> bool:
    if options.recipe in ACTIVATION_QUANTIZERS:
        return True
    agreement = next(trial.agreement for trial in trials if trial.recipe == best.recipe)
    return options.recipe == "auto" and options.bits != "w8a8" and agreement <= 1 - options.margin


def _labelled(
    run: Run, study: Study, source: Pixels, ids: tuple[str, ...], classifier: Classifier, key: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Input pixels and labels, the pixels those that float training kept."""
    label = {case.id: case.label for case in study.cases}
    pixels = model_pixels(source, ids, classifier.card.preprocess, cache=run.path("train"), key=key)
    return pixels, np.array([label[case] for case in ids], np.int64)
