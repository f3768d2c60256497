"""Passes: a recipe is a tuple of them, folded over a model. One file a pass, one line here."""

from __future__ import annotations

from clinquant.lab.quantize.passes.adaround import AdaRound
from clinquant.lab.quantize.passes.calibrate import Calibrate
from clinquant.lab.quantize.passes.correct_bias import CorrectBias
from clinquant.lab.quantize.passes.equalize import Equalize
from clinquant.lab.quantize.passes.fine_tune import FineTune
from clinquant.lab.quantize.passes.fold_batch_norm import FoldBatchNorm
from clinquant.lab.quantize.passes.gptq import GPTQ
from clinquant.lab.quantize.passes.put_on_grids import PutOnGrids
from clinquant.lab.quantize.passes.reconstruct_blocks import ReconstructBlocks
from clinquant.lab.quantize.passes.settle import Settle

PASSES = {
    "fold_batch_norm": FoldBatchNorm,
    "equalize": Equalize,
    "calibrate": Calibrate,
    "put_on_grids": PutOnGrids,
    "correct_bias": CorrectBias,
    "gptq": GPTQ,
    "adaround": AdaRound,
    "reconstruct_blocks": ReconstructBlocks,
    "fine_tune": FineTune,
    "settle": Settle,
}

__all__ = [
    "GPTQ",
    "PASSES",
    "AdaRound",
    "Calibrate",
    "CorrectBias",
    "Equalize",
    "FineTune",
    "FoldBatchNorm",
    "PutOnGrids",
    "ReconstructBlocks",
    "Settle",
]
