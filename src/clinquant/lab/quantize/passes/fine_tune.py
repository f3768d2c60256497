"""Quantization-aware training as a pass: trains the traced network on with its grids in place, and keeps the grids it learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import TensorSpec
from clinquant.core.preprocess import Preprocess
from clinquant.core.progress import Progress
from clinquant.lab.fit import fit
from clinquant.lab.objectives import Objective, PreserveAttribution
from clinquant.lab.plan import TrainingPlan, plan_training
from clinquant.lab.quantize.agreement import Agreement, agreement_of_fast_forward
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher, rate_at
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes.calibrate import Calibrate
from clinquant.lab.quantize.passes.put_on_grids import PutOnGrids
from clinquant.lab.quantize.passes.settle import Settle
from clinquant.lab.quantize.qat import FakeQuantized, reestimate_norms, trained
from clinquant.lab.quantize.quantized import Trained
from clinquant.lab.quantize.widths import inner_layers

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

VIEWS, VIEWS_LARGE = 20_000, 7_200
"""Image views of quantization-aware training: of inputs up to 64 px, and of larger ones."""
EPOCHS = (3, 60)
COMPARED_IMAGES = 256
"""Of tune, on which training's forward is compared with the exact simulation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTune:
    """The traced network trained on with its inner layers on the grids of the model, and put on the grids it learnt.

    Attributes:
        train, tune: uint8 pixels [n, s, s, 3] and labels [n]; tune is looked at, and chooses nothing.
        folder: for the checkpoint; a killed run goes on from it.
        method: a key of `fake_quant.METHODS`.
        learning: rates, distillation, oscillating weights.
        objectives: what is asked for beside the right class; see `lab.objectives`. Attribution is not preserved while settling.
        epochs: of the live phase; None for about `VIEWS` image views.
        seed: of batches and views.
        progress: told (steps done, of).
        compared: told how far training's own forward is from the integers that came of it, on images of tune.
    """

    train: Labelled
    tune: Labelled
    folder: Path
    method: str = "lsq"
    learning: Learning = field(default_factory=Learning)
    objectives: tuple[Objective, ...] = ()
    epochs: int | None = None
    seed: int = 0
    progress: Progress | None = None
    compared: Callable[[Agreement], None] | None = None

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` trained. The 8-bit grids follow the trained weights, by the calibration images.

        Raises:
            ClinquantError: `pass-order`; as `fit`.
        """
        model.needs("weights", by="FineTune", made_by="PutOnGrids")
        classes = len(model.card.classes)
        largest = narrowest(model).qmax if METHODS[self.method].keeps_grid else 1
        plan = plan_learning(self.train[1], classes, calibration.preprocess, self.seed, self.learning, epochs=self.epochs, largest=largest)
        settling = plan_settling(plan, self.learning)
        steps = [each.epochs * each.steps_per_epoch(len(self.train[1])) if each else 0 for each in (plan, settling)]
        module = self._live(model, plan, self._told(0, sum(steps)))
        reestimate_norms(module, self.train[0], calibration.preprocess, plan.augment, seed=self.seed)
        learnt = trained(module, model)
        tuned = Calibrate()(replace(model, network=learnt.network), replace(calibration, progress=None))
        found = PutOnGrids(learnt_activations=learnt.activations, learnt_weights=learnt.weights)(tuned, calibration)
        if self.compared:
            rows = np.unique(np.linspace(0, len(self.tune[0]) - 1, COMPARED_IMAGES).astype(np.int64))
            self.compared(agreement_of_fast_forward(module, found.quantized(self.method), self.tune[0][rows]))
        return self._settle(learnt, settling, self._told(steps[0], sum(steps)))(found, calibration) if settling else found

    def _live(self, model: Model, plan: TrainingPlan, progress: Progress) -> FakeQuantized:
        """The network trained with batch norm live."""
        learning = self.learning
        maps = any(isinstance(objective, PreserveAttribution) for objective in self.objectives)
        module = FakeQuantized(model.traced, model, self.method, watched=learning.freezing is not None, keeps_feature=maps)
        guide = LearningGuide(
            learning=learning,
            objectives=self.objectives,
            teacher=Teacher(model.traced) if learning.distillation or maps else None,
            keeps_last=True,
        )
        module.load_state_dict(fit(module, self.train, self.tune, plan, self.folder, guide=guide, progress=progress).state)
        return module.cpu()

    def _settle(self, learnt: Trained, plan: TrainingPlan, progress: Progress) -> Settle:
        """The pass that trains on as deployed."""
        return Settle(
            train=self.train,
            tune=self.tune,
            plan=plan,
            folder=self.folder / "settle",
            learning=self.learning,
            objectives=tuple(objective for objective in self.objectives if not isinstance(objective, PreserveAttribution)),
            latents=learnt.latents,
            progress=progress,
        )

    def _told(self, before: int, of: int) -> Progress:
        """Progress of one part, after `before` steps of all parts'."""
        return lambda done, _: self.progress(before + done, of) if self.progress else None


def narrowest(model: Model) -> TensorSpec:
    """The narrowest grid of weights that training learns, or of all where it learns none."""
    layers = inner_layers(model.traced) or model.weights.keys()
    return min((model.weights[name].spec for name in layers), key=lambda spec: spec.qmax)


def plan_learning(
    labels: NDArray[np.int64],
    classes: int,
    preprocess: Preprocess,
    seed: int,
    learning: Learning | None = None,
    *,
    epochs: int | None = None,
    largest: int = 1,
) -> TrainingPlan:
    """Fewer views and a lower rate than float training had: the network is trained, only its grids are new.

    Args:
        largest: code of the narrowest weights, where they start near the float network; see `rate_at`.
    """
    learning = learning or Learning()
    views = VIEWS if preprocess.size <= 64 else VIEWS_LARGE
    epochs = min(max(round(views / len(labels)), EPOCHS[0]), EPOCHS[1]) if epochs is None else epochs
    plan = plan_training(labels, classes, preprocess, pretrained=True, epochs=epochs, seed=seed)
    rate = rate_at(largest) if learning.rate is None else learning.rate
    return replace(plan, rate=rate, weight_decay=learning.weight_decay, patience=epochs)


def plan_settling(plan: TrainingPlan, learning: Learning) -> TrainingPlan | None:
    """The plan of `Settle` after `plan`."""
    epochs = math.ceil(plan.epochs * learning.settling)
    if not epochs:
        return None
    return replace(plan, epochs=epochs, patience=epochs, rate=learning.settling_rate)
