"""One training for every toolkit that trains: our loop, plan, teacher, images and seed, so that only quantizers and their start differ."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.peers.case import Case
from torch import nn

from clinquant.data.split import choosing_half
from clinquant.lab.fit import fit
from clinquant.lab.quantize.guidance import Learning, LearningGuide, Teacher
from clinquant.lab.quantize.passes.fine_tune import plan_learning
from clinquant.lab.quantize.qat import reestimate_norms
from clinquant.lab.quantize.trace.trace import trace


def trained_on(case: Case, module: nn.Module, folder: str) -> nn.Module:
    """`module` after its last epoch, weights averaged, batch norm statistics taken anew, in evaluation mode.

    As many epochs, the same rate, batches, views and teacher as ours; in float32, as not every toolkit's quantizers compute in bfloat16.
    """
    train, tune = (case.labelled(ids) for ids in (case.split.train, choosing_half(case.split)))
    learning, preprocess = Learning(), case.classifier.card.preprocess
    plan = plan_learning(train[1], len(case.classifier.card.classes), preprocess, case.seed, learning)
    guide = LearningGuide(learning=learning, teacher=Teacher(trace(case.module)), keeps_last=True)
    fitted = fit(module, train, tune, replace(plan, precision="float32"), case.folder / folder, guide=guide)
    module.load_state_dict(fitted.state)
    reestimate_norms(module, train[0], preprocess, plan.augment, seed=case.seed)
    return module
