"""The error for a layer that has no integer form."""

from __future__ import annotations

from clinquant.core.errors import ClinquantError

FIX = "replace it by a layer that docs/methods/architectures.md names, or choose an --arch of the zoo."

FIXES = {
    "logsoftmax": "return the logits: softmax is taken of them later.",
    "groupnorm": "train with BatchNorm2d in its place.",
    "instancenorm2d": "train with BatchNorm2d in its place.",
}
"""What to do instead, for kinds in lower case without underscores."""


def no_integer_form(layer: str, kind: str) -> ClinquantError:
    """`operator-unsupported` of the `layer`, whose `kind` is a class of torch.nn or the name of an operator."""
    fix = FIXES.get(kind.lower().replace("_", ""), FIX)
    return ClinquantError("operator-unsupported", f"{layer}: {kind} has no integer form here.", fix=fix)
