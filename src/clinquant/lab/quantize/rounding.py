"""AdaRound's optimisation of one layer: which weights to round up (Nagel et al. 2020, arXiv 2004.10568).

W~ = s (floor(W / s) + h(V)), h the rectified sigmoid. V minimises, by Adam over sampled output positions,

    mean over positions || f(W~ x^ + b) - f(W x + b) ||^2  +  lambda sum (1 - |2 h - 1|^beta)            (eq. 25, 24)

where x^ is the input that the quantized network really sees, x the float network's and f the activation behind the layer. W~ x^ is
computed as W x^ + (W~ - W) x^: the first part is the same in every iteration. Gradients are written out, so that an iteration is two
matrix products and a few sweeps over V.

Differs from the paper: lambda is not 0.01 but a multiple of s^2 mean(x^^2), a channel at a time, which is what one step of one weight
changes. So the balance of the two terms does not hang on how large a layer's outputs are, nor on the width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clinquant.lab.quantize.fake_quant.affine import GAMMA, ZETA, codes, floors, inverse_rectified_sigmoid, rectified_sigmoid

Activation = Callable[[Tensor], Tensor]

CHECK_EVERY = 50
"""Iterations between two looks whether every weight is decided."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How V is learnt.

    Attributes:
        iterations: steps a layer at most; fewer where no V moves any more.
        rate: Adam's step. Rate times iterations is how far a V can come; it starts within 2.4 of the middle.
        regularisation: lambda, in units of s^2 mean(x^^2).
        beta: first and last exponent, on a cosine after the warm-up: first only undecided weights are left alone, at last none.
        warm_up: share of the iterations without the regulariser.
        positions: output positions a step.
    """

    iterations: int = 1000
    rate: float = 0.01
    regularisation: float = 3.0
    beta: tuple[float, float] = (20.0, 2.0)
    warm_up: float = 0.2
    positions: int = 256

    def beta_at(self, iteration: int) -> float | None:
        """The exponent at `iteration`, or None during the warm-up."""
        start = self.warm_up * self.iterations
        if iteration < start:
            return None
        share = (iteration - start) / max(self.iterations - start, 1.0)
        return self.beta[1] + (self.beta[0] - self.beta[1]) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """One layer at sampled positions, group by group (g = 1 but for grouped convolutions).

    Attributes:
        columns: [g, positions, k] inputs as the quantized network sees them, in random order.
        target: [g, positions, o] what the float layer gives behind its activation.
        weight: [g, o, k] float.
        bias: [g, 1, o].
        scale: [g, o, 1] of the weight's grid.
        low, high: lowest and highest code.
        activation: what follows the layer, elementwise, piecewise linear.
    """

    columns: Tensor
    target: Tensor
    weight: Tensor
    bias: Tensor
    scale: Tensor
    low: int
    high: int
    activation: Activation

    @property
    def nearest(self) -> Tensor:
        """[g, o, k] codes rounded to nearest."""
        return codes(self.weight, self.scale, self.low, self.high)

    def errors(self, weight: Tensor, *, chunk: int = 1024) -> Tensor:
        """[g, o] mean squared error of every output channel over all positions."""
        total = torch.zeros(self.weight.shape[:2])
        for start in range(0, self.columns.shape[1], chunk):
            columns, target = self.columns[:, start : start + chunk], self.target[:, start : start + chunk]
            output = self.activation(torch.baddbmm(self.bias, columns, weight.transpose(1, 2)))
            total += (output - target).square_().sum(1)
        return total / self.columns.shape[1]

    def mean_errors(self, weight: Tensor) -> Tensor:
        """[g, o] mean error of every output channel over all positions, float64."""
        output = self.activation(torch.baddbmm(self.bias, self.columns, weight.transpose(1, 2)))
        return (output - self.target).double().mean(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded:
    """What was found for one layer.

    Attributes:
        codes: [g, o, k] integers as floats.
        iterations: steps taken.
        nearest, loss: error of rounding to nearest and of `codes`: squared, summed over channels, mean over positions.
    """

    codes: Tensor
    iterations: int
    nearest: float
    loss: float


@torch.no_grad()
def learn_rounding(problem: Problem, schedule: Schedule, generator: torch.Generator) -> Rounded:
    """The codes that change the layer's output least; a channel that nearest rounding serves better keeps it.

    Channels do not meet in the loss, so the choice between the two is exact for each.
    """
    learner = _Learner(problem, schedule)
    count, size = problem.columns.shape[1], min(schedule.positions, problem.columns.shape[1])
    starts = torch.randint(0, count - size + 1, (schedule.iterations,), generator=generator).tolist()
    taken = 0
    for iteration, start in enumerate(starts):
        learner.step(slice(start, start + size), schedule.beta_at(iteration))
        taken = iteration + 1
        if taken % CHECK_EVERY == 0 and learner.settled():
            break
    learnt, nearest = learner.codes(), problem.nearest
    errors, errors_nearest = (problem.errors(found * problem.scale) for found in (learnt, nearest))
    better = errors < errors_nearest
    return Rounded(
        codes=torch.where(better[..., None], learnt, nearest),
        iterations=taken,
        nearest=float(errors_nearest.sum()),
        loss=float(torch.where(better, errors, errors_nearest).sum()),
    )


class _Learner:
    """V, its optimizer, and the buffers that every step reuses."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem = problem
        self.regularisation = schedule.regularisation * problem.scale.square() * problem.columns.square().mean((1, 2))[:, None, None]
        self.base = floors(problem.weight, problem.scale, problem.low, problem.high)
        self.remainder = problem.weight - self.base * problem.scale
        self.free = torch.baddbmm(problem.bias, problem.columns, problem.weight.transpose(1, 2))
        self.v = torch.nn.Parameter(inverse_rectified_sigmoid(self.remainder / problem.scale))
        self.v.grad = torch.zeros_like(self.v)
        self.h, self.buffer = torch.empty_like(self.v), torch.empty_like(self.v)
        self.optimizer = torch.optim.Adam([self.v], lr=schedule.rate, fused=True)

    def codes(self) -> Tensor:
        """The codes that V has decided for."""
        return self.base + (rectified_sigmoid(self.v) >= 0.5)

    def settled(self) -> bool:
        """Whether every h stands at 0 or 1, where its gradient is 0."""
        return not bool(((self.h > 0) & (self.h < 1)).any())

    def step(self, positions: slice, beta: float | None) -> None:
        """One step of Adam on the loss at `positions`."""
        self.differentiate(positions, beta)
        self.optimizer.step()

    def differentiate(self, positions: slice, beta: float | None) -> None:
        """Writes dLoss/dV at `positions` into `v.grad`.

        With e = f(y) - target: dLoss/dW~ = 2 / n (e f'(y))^T x^, dW~/dh = s, and dh/dV = (h - gamma) (zeta - h) / (zeta - gamma) where
        0 < h < 1, else 0.
        """
        problem, h, buffer, gradient = self.problem, self.h, self.buffer, self.v.grad
        assert gradient is not None
        rectified_sigmoid(self.v, out=h)
        change = torch.mul(h, problem.scale, out=buffer).sub_(self.remainder)
        columns = problem.columns[:, positions]
        y = torch.baddbmm(self.free[:, positions], columns, change.transpose(1, 2))
        output = problem.activation(y)
        error = (output - problem.target[:, positions]).mul_(output == y).mul_(2.0 / columns.shape[1])
        torch.bmm(error.transpose(1, 2), columns, out=gradient).mul_(problem.scale)
        if beta is not None:
            torch.mul(h, 2, out=buffer).sub_(1)
            gradient.addcmul_(power_gradient(buffer, beta), self.regularisation, value=-2)
        gradient.mul_(torch.sub(h, GAMMA, out=buffer)).mul_(torch.sub(ZETA, h, out=buffer)).mul_(1 / (ZETA - GAMMA))
        gradient.mul_(torch.sub(1, h, out=buffer).mul_(h).sign_())


def power_gradient(t: Tensor, beta: float) -> Tensor:
    """d|t|^beta / dt = beta sign(t) |t|^(beta - 1), as a new tensor; `t` is overwritten."""
    signs = torch.sign(t)
    return signs.mul_(t.abs_().log_().mul_(beta - 1).exp_()).mul_(beta)
