"""One training for every toolkit that trains: our loop, plan, images and seed, so that only the quantizers differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from benchmarks.peers.case import Case
from numpy.typing import NDArray
from torch import nn

from clinquant.lab.fit import fit
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.guidance import Learning
from clinquant.lab.quantize.passes.fine_tune import plan_learning
from clinquant.lab.quantize.qat import NORM_IMAGES


def trained_on(case: Case, module: nn.Module, folder: str) -> nn.Module:
    """`module` with the weights of its best epoch on tune, batch norm statistics taken anew, in evaluation mode.

    As many epochs, the same rate, batches and views as ours; in float32, as not every toolkit's quantizers compute in bfloat16.
    """
    train, tune = (labelled(case, ids) for ids in (case.split.train, case.split.tune))
    plan = plan_learning(train[1], len(case.classifier.card.classes), case.classifier.card.preprocess, case.seed, Learning())
    fitted = fit(module, train, tune, replace(plan, precision="float32"), case.folder / folder)
    module.load_state_dict(fitted.state)
    renorm(case, module, train[0])
    return module.eval()


def labelled(case: Case, ids: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels."""
    label = {found.id: found.label for found in case.study.cases}
    return case.pixels(ids), np.array([label[name] for name in ids], np.int64)


def renorm(case: Case, module: nn.Module, pixels: NDArray[np.uint8], batch: int = 32) -> None:
    """Batch norm statistics as plain means over some of these images, as ours has them; nothing else learns."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        rows = np.random.default_rng(case.seed).permutation(len(pixels))[:NORM_IMAGES]
        for start in range(0, len(rows) - batch + 1, batch):
            module(normalised(pixels[rows[start : start + batch]], case.classifier.card.preprocess))
    module.eval()
