"""Trains weights and biases on with every grid fixed and in place, as deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.progress import Progress
from clinquant.lab.fit import fit
from clinquant.lab.objectives import Objective
from clinquant.lab.plan import TrainingPlan
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.settled import Settled

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Settle:
    """After any recipe: weights and biases of the folded network learn what the fixed grids of all tensors ask of them.

    In quantization-aware training batch norm is live and 8-bit edges are not rounded, to be quick. At 2 bits that is another network: an
    activation that falls on the other side of a threshold moves by half its range, and layer by layer such changes multiply. This pass
    trains the network that is exported. Its forward is float32; where the plan says bfloat16, gradients of convolutions are that.

    Attributes:
        train, tune: uint8 pixels [n, s, s, 3] and labels [n]; tune is looked at, and chooses nothing.
        plan: all numbers of training.
        folder: for the checkpoint; a killed run goes on from it.
        learning: distillation. Grids learn nothing here.
        objectives: what is asked for beside the right class.
        latents: node name -> weight before rounding, where training has one.
        progress: told (steps done, of).
    """

    train: Labelled
    tune: Labelled
    plan: TrainingPlan
    folder: Path
    learning: Learning = field(default_factory=Learning)
    objectives: tuple[Objective, ...] = ()
    latents: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    progress: Progress | None = None

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """Raises ClinquantError `pass-order`; as `fit`."""
        model.needs("weights", by="Settle", made_by="PutOnGrids")
        module = Settled(model, self.latents)
        teacher = Teacher(model.traced) if self.learning.distillation else None
        guide = LearningGuide(learning=self.learning, objectives=self.objectives, teacher=teacher, keeps_last=True)
        module.load_state_dict(fit(module, self.train, self.tune, self.plan, self.folder, guide=guide, progress=self.progress).state)
        return module.cpu().learnt(model)
