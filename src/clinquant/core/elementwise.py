"""Functions of one number, as formulas in float64: what a 256-entry table of codes is made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def sigmoid(x: Float64) -> Float64:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1.0 + small))


def silu(x: Float64) -> Float64:
    """x sigmoid(x), also called swish (Ramachandran et al. 2017, arXiv 1710.05941)."""
    return x * sigmoid(x)


def hard_sigmoid(x: Float64) -> Float64:
    """min(max(x / 6 + 1/2, 0), 1)."""
    return np.asarray(np.clip(x / 6.0 + 0.5, 0.0, 1.0))


def hard_swish(x: Float64) -> Float64:
    """x hard_sigmoid(x) (Howard et al. 2019, arXiv 1905.02244, section 5.2)."""
    return x * hard_sigmoid(x)


def gelu(x: Float64) -> Float64:
    """x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""
    error_function = np.array([math.erf(value) for value in (x / math.sqrt(2.0)).ravel()], np.float64)
    return np.asarray(0.5 * x * (1.0 + error_function.reshape(x.shape)))


def gelu_tanh(x: Float64) -> Float64:
    """The approximation of `gelu` by tanh, ibid. section 2."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))))


def mish(x: Float64) -> Float64:
    """x tanh(log(1 + exp(x))) (Misra 2019, arXiv 1908.08681)."""
    return np.asarray(x * np.tanh(np.logaddexp(0.0, x)))


def leaky_relu(x: Float64, slope: float) -> Float64:
    """x, times `slope` where negative."""
    return np.asarray(np.where(x >= 0, x, slope * x))


def elu(x: Float64, alpha: float) -> Float64:
    """x, or alpha (exp(x) - 1) where negative (Clevert et al. 2015, arXiv 1511.07289)."""
    return np.asarray(np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0.0))))


def affine(x: Float64, factor: float, term: float) -> Float64:
    """factor x + term, of two constants."""
    return factor * x + term


ELEMENTWISE: dict[str, Callable[..., NDArray[Any]]] = {
    "sigmoid": sigmoid,
    "silu": silu,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "tanh": np.tanh,
    "mish": mish,
    "leaky_relu": leaky_relu,
    "elu": elu,
    "affine": affine,
}
"""Operator of a network -> its formula; the operator's attributes are the further arguments."""
