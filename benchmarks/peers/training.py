"""One training for every toolkit that trains: our loop, plan, teacher, images and seed, so that only quantizers and their start differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from benchmarks.peers.case import Case
from numpy.typing import NDArray
from torch import nn

from clinquant.data.split import choosing_half
from clinquant.lab.augment import Augment, augment
from clinquant.lab.fit import fit
from clinquant.lab.quantize.execute import standardised
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher
from clinquant.lab.quantize.passes.fine_tune import plan_learning
from clinquant.lab.quantize.qat import NORM_IMAGES
from clinquant.lab.quantize.trace.trace import trace


def trained_on(case: Case, module: nn.Module, folder: str) -> nn.Module:
    """`module` after its last epoch, weights averaged, batch norm statistics taken anew, in evaluation mode.

    As many epochs, the same rate, batches, views and teacher as ours; in float32, as not every toolkit's quantizers compute in bfloat16.
    """
    train, tune = (labelled(case, ids) for ids in (case.split.train, choosing_half(case.split)))
    learning, preprocess = Learning(), case.classifier.card.preprocess
    plan = plan_learning(train[1], len(case.classifier.card.classes), preprocess, case.seed, learning)
    guide = LearningGuide(learning=learning, teacher=Teacher(trace(case.module)), keeps_last=True)
    fitted = fit(module, train, tune, replace(plan, precision="float32"), case.folder / folder, guide=guide)
    module.load_state_dict(fitted.state)
    renorm(case, module, train[0], plan.augment)
    return module.eval()


def labelled(case: Case, ids: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels and labels."""
    label = {found.id: found.label for found in case.study.cases}
    return case.pixels(ids), np.array([label[name] for name in ids], np.int64)


def renorm(case: Case, module: nn.Module, pixels: NDArray[np.uint8], views: Augment, batch: int = 32) -> None:
    """Batch norm statistics as plain means over random views of some of these images, as ours has them; nothing else learns."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        rows = np.random.default_rng(case.seed).permutation(len(pixels))[:NORM_IMAGES]
        generator = torch.Generator().manual_seed(case.seed)
        for start in range(0, len(rows) - batch + 1, batch):
            seen = augment(torch.from_numpy(pixels[rows[start : start + batch]]), views, generator)
            module(standardised(seen, case.classifier.card.preprocess))
    module.eval()
