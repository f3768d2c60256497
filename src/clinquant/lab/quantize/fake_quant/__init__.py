"""Fake quantizers: put values on a grid in training, with a gradient for its step. One file a method, one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from clinquant.core.affine import TensorSpec
from clinquant.lab.quantize.fake_quant.dorefa import MOST_BITS, DoReFa
from clinquant.lab.quantize.fake_quant.fixed_grid import FixedGrid
from clinquant.lab.quantize.fake_quant.lsq import LSQ
from clinquant.lab.quantize.fake_quant.lsq_plus import LSQPlus, three_sigma
from clinquant.lab.quantize.fake_quant.minmax import MinMax, MovingMinMax
from clinquant.lab.quantize.fake_quant.pact import PACT
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer

ActivationStart = Callable[[Tensor, int, int], FakeQuantizer]
"""(initial step, lowest and highest code less the zero point) -> the quantizer."""

WeightStart = Callable[[Tensor, Tensor, TensorSpec], FakeQuantizer]
"""(initial weight [o, ...], step a channel [o] found after training, grid) -> the quantizer."""

ACTIVATION_QUANTIZERS: dict[str, ActivationStart] = {"lsq": LSQ, "lsq+": LSQPlus, "minmax": MovingMinMax, "pact": PACT}

WEIGHT_QUANTIZERS: dict[str, WeightStart] = {
    "dorefa": lambda weight, scale, spec: DoReFa.of(weight, spec.bits) if spec.bits <= MOST_BITS else MinMax(spec.qmin, spec.qmax, 0),
    "lsq": lambda weight, scale, spec: LSQ(scale, spec.qmin, spec.qmax, 0),
    "lsq+": lambda weight, scale, spec: three_sigma(weight, spec.qmin, spec.qmax, spec.bits),
    "minmax": lambda weight, scale, spec: MinMax(spec.qmin, spec.qmax, 0),
}


@dataclass(frozen=True)
class Method:
    """A pair of fake quantizers: keys of `WEIGHT_QUANTIZERS` and `ACTIVATION_QUANTIZERS`."""

    weight: str
    activation: str

    @property
    def keeps_grid(self) -> bool:
        """Whether weights start on the grid that was found after training, so that rounding found there is a start as well."""
        return self.weight == "lsq"


METHODS: dict[str, Method] = {
    "lsq": Method("lsq", "lsq"),
    "lsq+": Method("lsq+", "lsq+"),
    "pact": Method("dorefa", "pact"),
    "pact-lsq": Method("lsq", "pact"),
    "dorefa": Method("dorefa", "minmax"),
    "ste": Method("minmax", "minmax"),
}
"""What quantization-aware training goes by in `--recipe`."""

__all__ = [
    "ACTIVATION_QUANTIZERS",
    "LSQ",
    "METHODS",
    "PACT",
    "WEIGHT_QUANTIZERS",
    "DoReFa",
    "FakeQuantizer",
    "FixedGrid",
    "LSQPlus",
    "Method",
    "MinMax",
    "MovingMinMax",
]
