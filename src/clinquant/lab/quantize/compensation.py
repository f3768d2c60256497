"""GPTQ's rounding of a layer: what rounding a weight changes, weights behind it take back (Frantar et al. 2022, arXiv 2210.17323).

For inputs x^ with covariance C, an output channel's squared error is (w~ - w)^T C (w~ - w). With U the upper Cholesky factor of C^-1,
rounding w_i to the nearest code and then

    w_j <- w_j - (w_i - w~_i) U_ij / U_ii     for every j > i                                      (eq. 2 and 3, algorithm 1)

leaves the least error that the weights behind i can still reach. Inputs of the largest variance come first, while most others can still
make up for them.

Differs from the paper: means are taken out of x^, since the bias takes up a mean error exactly; and w is not the float weight but the one
that brings x^, as the quantized network so far gives it, nearest to the float layer's output, so that the errors of layers before are
taken back too (as Li et al. 2025, arXiv 2504.02692, do inside the update).
"""

from __future__ import annotations

import torch
from torch import Tensor

from clinquant.lab.quantize.fake_quant.affine import codes
from clinquant.lab.quantize.rounding import Problem

BLOCK = 128
"""Weights that are rounded before those behind them are told."""


@torch.no_grad()
def compensated_rounding(problem: Problem, *, damping: float = 0.01) -> Tensor:
    """[g, o, k] codes, as floats in [low, high], for a problem without an activation.

    Args:
        damping: added to the diagonal of C, in units of its mean; it holds weights back where few positions were seen.
    """
    covariance, weight = follow(problem, damping)
    order = covariance.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    ordered = covariance.take_along_dim(order[:, :, None], 1).take_along_dim(order[:, None, :], 2)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(ordered)), upper=True)
    rounded = sweep(weight.take_along_dim(order[:, None, :], 2), problem.scale.double(), factor, problem.low, problem.high)
    return rounded.take_along_dim(order.argsort(dim=1)[:, None, :], 2).float()


def follow(problem: Problem, damping: float) -> tuple[Tensor, Tensor]:
    """The damped covariance [g, k, k] of the inputs, and the weights [g, o, k] with which they come nearest to the target; float64.

    The least squares solution, drawn towards the float weights by the damping.
    """
    count = problem.columns.shape[1]
    columns = problem.columns - problem.columns.mean(1, keepdim=True)
    covariance = (columns.transpose(1, 2) @ columns).double() / count
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    diagonal += damping * diagonal.mean(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    missing = problem.target - problem.columns @ problem.weight.transpose(1, 2)
    cross = (columns.transpose(1, 2) @ (missing - missing.mean(1, keepdim=True))).double() / count
    return covariance, problem.weight + torch.cholesky_solve(cross, torch.linalg.cholesky(covariance)).transpose(1, 2)


def sweep(weight: Tensor, scale: Tensor, factor: Tensor, low: int, high: int) -> Tensor:
    """Rounds `weight` [g, o, k], which is used up, from its first column to its last.

    Args:
        scale: [g, o, 1].
        factor: U, [g, k, k].
    """
    found = torch.empty_like(weight)
    for start in range(0, weight.shape[2], BLOCK):
        block = slice(start, min(start + BLOCK, weight.shape[2]))
        errors = torch.zeros_like(weight[:, :, block])
        for i in range(block.start, block.stop):
            column = weight[:, :, i : i + 1]
            found[:, :, i : i + 1] = nearest = codes(column, scale, low, high)
            error = (column - nearest * scale) / factor[:, i : i + 1, i : i + 1]
            weight[:, :, i : block.stop] -= error * factor[:, i : i + 1, i : block.stop]
            errors[:, :, i - start : i - start + 1] = error
        weight[:, :, block.stop :] -= errors @ factor[:, block, block.stop :]
    return found
