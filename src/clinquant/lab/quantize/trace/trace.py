"""Traces a torch module into a `Network`. What has no counterpart is named, never dropped."""

from __future__ import annotations

from torch import nn

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.quantize.trace.exported import trace_exported
from clinquant.lab.quantize.trace.head import with_linear_head
from clinquant.lab.quantize.trace.norms import with_own_convolutions
from clinquant.lab.quantize.trace.symbolic import trace_symbolically


def trace(module: nn.Module, size: int | None = None) -> Network:
    """The network that `module` (in eval mode) computes, batch norm still apart, each behind a convolution of its own.

    Args:
        size: side of the images, pixels; where it is given, what torch.fx cannot trace is tried with torch.export (`exported`).

    Raises:
        ClinquantError: `trace-failed` where control flow depends on data, `operator-unsupported` naming the layer.
    """
    return with_own_convolutions(with_linear_head(_traced(module, size)))


def _traced(module: nn.Module, size: int | None) -> Network:
    """By torch.fx, or else by torch.export, which takes more: of two refusals the second one names what neither takes."""
    try:
        return trace_symbolically(module)
    except ClinquantError as error:
        if size is None:
            raise
        try:
            return trace_exported(module, size)
        except ClinquantError as second:
            raise (error if second.code == "trace-failed" else second) from second
