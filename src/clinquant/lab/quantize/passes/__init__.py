"""Passes: a recipe is a tuple of them, folded over a network. One file a pass, one line here."""

from __future__ import annotations

from clinquant.lab.quantize.passes.calibrate import Calibrate
from clinquant.lab.quantize.passes.fold_batch_norm import FoldBatchNorm

PASSES = {"fold_batch_norm": FoldBatchNorm, "calibrate": Calibrate}

__all__ = ["PASSES", "Calibrate", "FoldBatchNorm"]
