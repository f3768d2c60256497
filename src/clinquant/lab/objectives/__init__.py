"""What training can ask for beside the right class: one file an objective, one line here."""

from __future__ import annotations

from clinquant.lab.objectives.distillation import Distillation
from clinquant.lab.objectives.objective import Batch, Objective
from clinquant.lab.objectives.preserve_attribution import PreserveAttribution
from clinquant.lab.objectives.saliency_guided import SaliencyGuided
from clinquant.lab.options import BuildOptions

OBJECTIVES: dict[str, type[Objective]] = {
    "saliency_guided": SaliencyGuided,
    "preserve_attribution": PreserveAttribution,
    "distillation": Distillation,
}
"""Name -> objective. All are terms of the loss, of any training that `fit` does."""


def objectives_of(options: BuildOptions) -> tuple[Objective, ...]:
    """The objectives that a run asks for. Raises ClinquantError `objective-invalid`."""
    asked = SaliencyGuided(
        k=options.saliency_k,
        fill=options.saliency_fill,
        rank=options.saliency_rank,
        weight=options.saliency_weight,
        ramp=options.saliency_ramp,
    )
    return (asked,) if options.saliency_guided else ()


__all__ = ["OBJECTIVES", "Batch", "Distillation", "Objective", "PreserveAttribution", "SaliencyGuided", "objectives_of"]
