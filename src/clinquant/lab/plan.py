"""The training plan: every number that training needs, settled before it starts, so that equal plans give equal bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.lab.augment import Augment

FINE_TUNING_VIEWS = 3600
"""Image views that fine-tuning from ImageNet is given, within `FINE_TUNING_EPOCHS`."""
FINE_TUNING_EPOCHS = (3, 20)
SCRATCH_VIEWS = 60_000
"""Image views that random weights are given, within `SCRATCH_EPOCHS`."""
SCRATCH_EPOCHS = (10, 50)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """AdamW with warm-up and cosine decay, an average of the weights, and the best epoch on tune.

    Attributes:
        classes: number of classes.
        class_weights: of the loss, one a class, mean 1 over the training images.
        preprocess: normalisation and size.
        epochs, batch: passes over the training images, images a step.
        rate: peak learning rate.
        weight_decay: decoupled; of convolution and linear weights only.
        warmup: share of all steps in which the rate rises linearly from 0.
        label_smoothing: share of the target spread over all classes.
        average: share of all steps over which the weights are averaged (exponentially).
        patience: epochs without a better loss on tune after which training stops.
        augment: of training images.
        seed: of the order, the views and dropout.
        precision: `bfloat16` (autocast) or `float32`.
        device: `cpu` or `cuda`.
        threads: of the processor; part of the plan because sums depend on it.
        checkpoint_steps: steps between checkpoints inside an epoch.
    """

    classes: int
    class_weights: tuple[float, ...]
    preprocess: Preprocess
    epochs: int
    batch: int
    rate: float
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.05
    average: float = 0.1
    patience: int
    augment: Augment = field(default_factory=Augment)
    seed: int = 0
    precision: str = "float32"
    device: str = "cpu"
    threads: int = 1
    checkpoint_steps: int = 100

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise ClinquantError(
                "plan-invalid", f"{self.epochs} epochs of batches of {self.batch}.", fix="give --epochs 1 and --batch 2 or more."
            )

    def steps_per_epoch(self, n_train: int) -> int:
        """Steps of one epoch; a last batch smaller than half a batch is left out, since batch norm needs company."""
        return max(1, (n_train + (self.batch - 1) // 2) // self.batch)

    def learning_rate(self, step: int, steps: int) -> float:
        """Rate at `step` of `steps`: linear warm-up, then half a cosine to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5)."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    def average_decay(self, step: int, steps: int) -> float:
        """Weight of the past in the average at `step`: short memory first, then `average` of all steps."""
        return min(1 - 1 / max(2.0, self.average * steps), (1 + step) / (10 + step))


def plan_training(
    labels: NDArray[np.int64],
    classes: int,
    preprocess: Preprocess,
    *,
    pretrained: bool,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    augment: Augment | None = None,
) -> TrainingPlan:
    """Defaults for these training labels (int64 [n] in [0, classes)): few epochs of fine-tuning, or more from random weights.

    Raises:
        ClinquantError: `class-without-images` when a class has no training image, `plan-invalid`.
    """
    views, (fewest, most) = (FINE_TUNING_VIEWS, FINE_TUNING_EPOCHS) if pretrained else (SCRATCH_VIEWS, SCRATCH_EPOCHS)
    epochs = min(max(round(views / len(labels)), fewest), most) if epochs is None else epochs
    if batch is None:
        batch = 32 if preprocess.size > 64 else 64
    return TrainingPlan(
        classes=classes,
        class_weights=balanced_weights(labels, classes),
        preprocess=preprocess,
        epochs=epochs,
        batch=min(batch, max(2, len(labels))),
        rate=1e-3,
        patience=max(3, epochs // 3),
        augment=augment or Augment(),
        seed=seed,
        precision=fastest_precision(),
        device="cuda" if torch.cuda.is_available() else "cpu",
        threads=torch.get_num_threads(),
    )


def balanced_weights(labels: NDArray[np.int64], classes: int) -> tuple[float, ...]:
    """Weight of each class: one over the square root of its count, with mean 1 over the images.

    Halfway (in the exponent) between ignoring imbalance and full inverse frequency, which overfits rare classes.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    if (counts == 0).any():
        raise ClinquantError(
            "class-without-images",
            f"class {int(np.flatnonzero(counts == 0)[0])} has no training image.",
            fix="add images of this class, leave the class out, or change the split.",
        )
    weights = counts**-0.5
    return tuple(float(weight) for weight in weights * counts.sum() / (weights * counts).sum())


def fastest_precision() -> str:
    """`bfloat16` where the hardware multiplies it natively, else `float32`: told by its features, not by timing, so that it is stable."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    features = torch.cpu.get_capabilities()
    return "bfloat16" if features.get("amx_bf16") or features.get("avx512_bf16") else "float32"
