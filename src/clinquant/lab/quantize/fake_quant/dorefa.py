"""DoReFa weights (Zhou et al. 2016, arXiv 1606.06160), which PACT takes."""

from __future__ import annotations

import torch
from torch import Tensor

from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.fake_quant.minmax import through
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer

MOST_BITS = 6
"""Odd codes of k bits reach 2^k - 1, and a 7-bit weight 63."""


class DoReFa(FakeQuantizer):
    """w_q = 2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1 (eq. 9), quantize_k(r) = round((2^k - 1) r) / (2^k - 1) (eq. 5).

    In codes: the odd integers 2 i - (2^k - 1) times level / (2^k - 1), so there is no zero. The maximum is over the whole layer.
    Gradient: straight through the rounding, and that of the transform, the maximum's included. Differs: values are multiplied by
    `level`, so that a layer that no batch norm follows keeps its size; behind batch norm that changes nothing.

    Args:
        bits: k, 2 to 6.
        level: the largest |w_q|; the paper's is 1.

    >>> DoReFa(2)(torch.tensor([-2.0, -0.1, 0.1, 2.0])).tolist()
    [-1.0, -0.3333333432674408, 0.3333333432674408, 1.0]
    """

    odd = True

    def __init__(self, bits: int, level: float = 1.0) -> None:
        super().__init__(1 - 2**bits, 2**bits - 1)
        self.level = level

    @classmethod
    def of(cls, weight: Tensor, bits: int) -> DoReFa:
        """One whose values have the size that `weight` has."""
        return cls(bits, float(weight.detach().float().tanh().abs().max().clamp_min(1e-8)))

    def scale_of(self, x: Tensor) -> Tensor:
        """The level over the highest code."""
        return torch.tensor(self.level / self.high, device=x.device)

    def unrounded(self, x: Tensor) -> Tensor:
        """level tanh(w) / max|tanh(w)|."""
        return self._in_codes(x) * self.scale_of(x)

    def _in_codes(self, x: Tensor) -> Tensor:
        squashed = x.tanh()
        return squashed / squashed.abs().amax().clamp_min(1e-8) * self.high

    def _on_grid(self, x: Tensor) -> Tensor:
        inner = self._in_codes(x)
        rounded = codes(inner.detach(), torch.ones((), device=x.device), self.low, self.high, odd=True)
        return through(inner, rounded) * self.scale_of(x)
