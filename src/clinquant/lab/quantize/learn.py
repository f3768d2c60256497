"""Runs quantization-aware training and puts what it learnt on grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.preprocess import Preprocess
from clinquant.lab.classifier import Classifier
from clinquant.lab.fit import fit
from clinquant.lab.plan import TrainingPlan, plan_training
from clinquant.lab.quantize.observers import MSE
from clinquant.lab.quantize.passes import Calibrate
from clinquant.lab.quantize.qat import FakeQuantized, reestimate_norms, trained
from clinquant.lab.quantize.quantize import put_on_grids
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.target import TARGETS
from clinquant.lab.quantize.trace import trace
from clinquant.lab.quantize.widths import widths_of

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

VIEWS, VIEWS_LARGE = 20_000, 7_200
"""Image views of quantization-aware training: of inputs up to 64 px, and of larger ones."""
EPOCHS = (3, 20)
RATE = 2e-4
NORM_IMAGES = 1024
"""Training images that the batch norm statistics are taken from anew."""


def learn(
    classifier: Classifier,
    start: QuantizedNetwork,
    train: Labelled,
    tune: Labelled,
    calibration: NDArray[np.uint8],
    folder: Path,
    *,
    method: str,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedNetwork:
    """`classifier` trained on with its inner layers on the grids of `start`, and put on the grids it learnt.

    Args:
        start: the same classifier after post-training quantization.
        train, tune: uint8 pixels [n, s, s, 3] and labels [n]; the epoch with the lowest loss on tune is kept.
        calibration: uint8 [m, s, s, 3], for the 8-bit grids, which follow the trained weights.
        folder: for the checkpoint; a killed run goes on from it.
        method: a key of `fake_quant.ACTIVATION_QUANTIZERS`.

    Raises:
        ClinquantError: as `fit`.
    """
    preprocess = classifier.card.preprocess
    module = FakeQuantized(trace(classifier.module), start, method)
    plan = plan_learning(train[1], len(classifier.card.classes), preprocess, seed)
    module.load_state_dict(fit(module, train, tune, plan, folder, progress=progress).state)
    reestimate_norms(module.cpu(), train[0][:NORM_IMAGES], preprocess)
    learnt = trained(module, start)
    histograms = Calibrate()(learnt.network, calibration, preprocess)
    target = TARGETS[str(start.card.target)]
    return put_on_grids(
        learnt.network,
        histograms,
        MSE(),
        target,
        widths_of(start.card.bits),
        card=start.card,
        shapes=start.shapes,
        recipe=method,
        learnt=learnt,
    )


def plan_learning(labels: NDArray[np.int64], classes: int, preprocess: Preprocess, seed: int) -> TrainingPlan:
    """Fewer views and a lower rate than float training had: the network is trained, only its grids are new."""
    views = VIEWS if preprocess.size <= 64 else VIEWS_LARGE
    epochs = min(max(round(views / len(labels)), EPOCHS[0]), EPOCHS[1])
    plan = plan_training(labels, classes, preprocess, pretrained=True, epochs=epochs, seed=seed)
    return replace(plan, rate=RATE, weight_decay=0.01, patience=epochs)
