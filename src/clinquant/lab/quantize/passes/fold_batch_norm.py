"""Folds batch norm into the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.model import Calibration, Model


@dataclass(frozen=True)
class FoldBatchNorm:
    """w <- w g / sqrt(v + e), b <- (b - m) g / sqrt(v + e) + beta (Jacob et al. 2018, arXiv 1712.05877, eq. 14), in float64."""

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """Raises as `fold_batch_norm`."""
        return replace(model, network=fold_batch_norm(model.network))
