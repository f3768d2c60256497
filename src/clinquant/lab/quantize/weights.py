"""Grids of weights: the covering one at 7 and 8 bits, the one of least squared change below."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import QParams, TensorSpec, fake_quantize, weight_qparams

COVERING_FROM = 7
"""Bits from which covering the largest weight costs next to nothing."""

SHARES = np.linspace(1.0, 0.3, 57)
"""Scales tried, as shares of the covering one."""


def weight_grid(weight: NDArray[Any], bias: NDArray[Any] | None, input_scale: NDArray[np.float32], spec: TensorSpec) -> QParams:
    """Symmetric grid a channel of a weight [o, ...].

    Below 7 bits each channel takes the share of its covering scale that changes its weights least in the mean square (Nagel et al. 2021,
    2106.08295, section 3.1). Raises as `core.affine.weight_qparams`.
    """
    covering = weight_qparams(weight, bias, input_scale, spec)
    if spec.bits >= COVERING_FROM:
        return covering
    flat = weight.reshape(len(weight), -1)
    best, least = covering.scale.copy(), np.full(len(weight), np.inf)
    for share in SHARES:
        scale = np.asarray(covering.scale * np.float32(share), np.float32)
        error = ((fake_quantize(flat, replace(covering, scale=scale)) - flat) ** 2).sum(axis=1)
        better = error < least
        best[better], least[better] = scale[better], error[better]
    floor = weight_qparams(np.zeros_like(weight), bias, input_scale, spec).scale
    return replace(covering, scale=np.maximum(best, floor))
