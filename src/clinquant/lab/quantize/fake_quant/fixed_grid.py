"""A grid that does not move: what is left of a fake quantizer once every grid is found."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clinquant.core.affine import QParams
from clinquant.lab.quantize.fake_quant.affine import broadcast, codes, inside
from clinquant.lab.quantize.fake_quant.minmax import through
from clinquant.lab.quantize.fake_quant.quantizer import FakeQuantizer


class FixedGrid(FakeQuantizer):
    """x_hat = (code of x) s on a grid that does not move; gradient 1 within its ends, 0 outside.

    Args:
        grid: one scale, or one a channel.
    """

    scale: Tensor

    def __init__(self, grid: QParams) -> None:
        zero = int(grid.zero_point.flat[0])
        super().__init__(grid.spec.qmin - zero, grid.spec.qmax - zero, grid.spec.axis)
        self.register_buffer("scale", torch.from_numpy(np.array(grid.scale)))
        self.odd = grid.spec.odd

    def scale_of(self, x: Tensor) -> Tensor:
        """The scale."""
        return self.scale

    def _on_grid(self, x: Tensor) -> Tensor:
        step, given = broadcast(self.scale, x, self.axis), x.detach()
        return through(x, codes(given, step, self.low, self.high, odd=self.odd) * step, inside(given, step, self.low, self.high))
