"""The kernels as differentiable operators: batch norm, sum, clip and quantizer in one; all layers' weights in one.

Each saves what it read and computes codes anew in the backward. Sums of gradients are added in an order that shapes alone decide.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clinquant.lab.quantize.fake_quant import LSQ, PACT, FixedGrid, LSQPlus
from clinquant.lab.quantize.fake_quant.pact import SMALLEST
from clinquant.lab.quantize.fused.build import library

TYPES = (torch.float32, torch.bfloat16)
Learner = LSQ | LSQPlus | PACT
"""Activation quantizers whose step's gradient the kernels know."""
Known = Learner | FixedGrid
"""Activation quantizers that the kernels know."""
ABSENT, OWN, NARROW = 0, 1, 2
"""Where a quantizer stands: nowhere, on the output itself, on a narrow copy beside it."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The activation: clip(x, low, high), infinite where there is none."""

    low: float = -math.inf
    high: float = math.inf


class _Job(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "channels")),
        *((name, ctypes.c_void_p) for name in ("x", "skip", "gamma", "beta", "statistics", "running_mean", "running_variance")),
        *((name, ctypes.c_double) for name in ("momentum", "epsilon")),
        *((name, ctypes.c_float) for name in ("clip_low", "clip_high")),
        *((name, ctypes.c_int32) for name in ("quantized", "lsq", "learns_offset")),
        *((name, ctypes.c_float) for name in ("step", "low", "high")),
        *((name, ctypes.c_void_p) for name in ("y", "q", "gradient_y", "gradient_q", "gradient_x", "gradient_skip")),
        *((name, ctypes.c_void_p) for name in ("gradient_gamma", "gradient_beta", "gradient_step", "gradient_offset")),
        *((name, ctypes.c_int32) for name in ("threads", "fixed")),
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("channels", "size")),
        *((name, ctypes.c_void_p) for name in ("weight", "step")),
        *((name, ctypes.c_float) for name in ("low", "high")),
        *((name, ctypes.c_void_p) for name in ("q", "gradient_q", "gradient", "gradient_step")),
    ]


def can_fuse(x: Tensor) -> bool:
    """Whether the kernels take `x`: rows of channels, float32 or bfloat16, on the processor."""
    return x.dim() == 4 and x.dtype in TYPES and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


def activation(
    x: Tensor,
    skip: Tensor | None,
    norm: nn.BatchNorm2d | None,
    clip: Clip,
    quantizer: Known | None,
    where: int,
    *,
    learning: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """(y, q): y = clip(norm(x) + skip), absent where the quantizer is its own; q = y on the quantizer's grid, absent without one.

    Args:
        x: [n, c, h, w] that `can_fuse` takes.
        skip: like `x`, or None.
        norm: in training mode its running statistics move; in evaluation mode they are what it computes with, and it learns nothing.
        clip: the activation.
        quantizer: with one step, or None.
        where: ABSENT, OWN or NARROW.
        learning: the quantizer gets a gradient too, not `x` and `skip` alone.
    """
    gamma, beta = (norm.weight, norm.bias) if norm is not None else (None, None)
    learnt = _learnt(quantizer)
    offset: Tensor | None = quantizer.offset if isinstance(quantizer, LSQPlus) else None
    if not learning:
        learnt, offset = (None if value is None else value.detach() for value in (learnt, offset))
    return _Activation.apply(x, skip, gamma, beta, learnt, offset, norm, clip, quantizer, where)  # type: ignore[no-any-return, no-untyped-call]


def weights(layers: Sequence[tuple[Tensor, LSQ | FixedGrid]], dtype: torch.dtype) -> list[Tensor]:
    """Every layer's float32 weight on the grid of its quantizer (one step for each of the first axis), as `dtype`."""
    values = [weight for weight, _ in layers]
    steps = [quantizer.scale for _, quantizer in layers]
    return list(_Weights.apply(dtype, [(quantizer.low, quantizer.high) for _, quantizer in layers], *values, *steps))  # type: ignore[no-untyped-call]


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        skip: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        learnt: Tensor | None,
        offset: Tensor | None,
        norm: nn.BatchNorm2d | None,
        clip: Clip,
        quantizer: Known | None,
        where: int,
    ) -> tuple[Tensor | None, Tensor | None]:
        job = _Job(channels=x.shape[1], rows=x.numel() // x.shape[1], x=x.data_ptr(), threads=torch.get_num_threads(), quantized=where)
        job.clip_low, job.clip_high = clip.low, clip.high
        ctx.dtype = x.dtype
        if skip is not None:
            assert skip.shape == x.shape
            skip = skip.to(x.dtype).contiguous(memory_format=torch.channels_last)
            job.skip = skip.data_ptr()
        statistics = None
        if norm is not None and gamma is not None and beta is not None:
            statistics = torch.empty(4, job.channels) if norm.training else _constants(norm)
            job.gamma, job.beta, job.statistics = gamma.data_ptr(), beta.data_ptr(), statistics.data_ptr()
            job.fixed = not norm.training
            if norm.training:
                _running(job, norm)
        if quantizer is not None:
            _grid(job, quantizer)
        y = torch.empty_like(x) if where != OWN else None
        q = torch.empty_like(x) if where != ABSENT else None
        job.y, job.q = (0 if y is None else y.data_ptr()), (0 if q is None else q.data_ptr())
        _run(job, x.dtype, backward=False)
        ctx.save_for_backward(x, skip, gamma, beta, statistics, learnt, offset)
        ctx.job, ctx.quantizer = job, quantizer
        ctx.set_materialize_grads(False)
        return y, q

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, skip, gamma, beta, _, learnt, offset = ctx.saved_tensors
        job: _Job = ctx.job
        of_y, of_q = (None if g is None else g.to(x.dtype).contiguous(memory_format=torch.channels_last) for g in gradients)
        job.gradient_y, job.gradient_q = (0 if g is None else g.data_ptr() for g in (of_y, of_q))
        of_x = torch.empty_like(x)
        of_skip = None if skip is None else of_x if gamma is None else torch.empty_like(skip)  # equal where no norm stands between
        of_gamma, of_beta = (None, None) if gamma is None or job.fixed else (torch.empty_like(gamma), torch.empty_like(beta))
        of_step, of_offset = ctypes.c_double(), ctypes.c_double()
        job.gradient_x = of_x.data_ptr()
        learning = learnt is not None and ctx.needs_input_grad[4]
        job.gradient_step, job.gradient_offset = (ctypes.addressof(of_step), ctypes.addressof(of_offset)) if learning else (0, 0)
        if of_skip is not None:
            job.gradient_skip = of_skip.data_ptr()
        if of_gamma is not None and of_beta is not None:
            job.gradient_gamma, job.gradient_beta = of_gamma.data_ptr(), of_beta.data_ptr()
        _run(job, x.dtype, backward=True)
        learns = _of_learnt(ctx.quantizer, job, of_step.value, of_offset.value) if learning else (0.0, 0.0)
        of_learnt = torch.full_like(learnt, learns[0]) if learning else None
        of_low = torch.full_like(offset, learns[1]) if learning and offset is not None else None
        return of_x, of_skip, of_gamma, of_beta, of_learnt, of_low, None, None, None, None


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, ranges: list[tuple[int, int]], *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(ranges)
        values, steps = [_dense(w) for w in tensors[:count]], tensors[count:]
        out = [torch.empty_like(w, dtype=dtype) for w in values]
        layers = (_Layer * count)()
        for layer, w, step, q, (low, high) in zip(layers, values, steps, out, ranges, strict=True):
            layer.channels, layer.size, layer.low, layer.high = len(w), w.numel() // len(w), low, high
            layer.weight, layer.step, layer.q = w.data_ptr(), step.data_ptr(), q.data_ptr()
        _library().clinquant_weights(layers, ctypes.c_int64(count), dtype == torch.bfloat16, False, torch.get_num_threads())
        ctx.save_for_backward(*values, *steps)
        ctx.layers, ctx.dtype = layers, dtype
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layers, count = ctx.layers, len(gradients)
        values, steps = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        given = [_laid_out_as(w, g, ctx.dtype) for w, g in zip(values, gradients, strict=True)]
        of_values, of_steps = [torch.empty_like(w) for w in values], [torch.empty_like(step) for step in steps]
        for layer, g, of_value, of_step in zip(layers, given, of_values, of_steps, strict=True):
            layer.gradient_q, layer.gradient, layer.gradient_step = g.data_ptr(), of_value.data_ptr(), of_step.data_ptr()
        _library().clinquant_weights(layers, ctypes.c_int64(count), ctx.dtype == torch.bfloat16, True, torch.get_num_threads())
        return None, None, *of_values, *of_steps


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None
    return found


def _run(job: _Job, dtype: torch.dtype, *, backward: bool) -> None:
    _library().clinquant_activation(ctypes.byref(job), dtype == torch.bfloat16, backward)


def _running(job: _Job, norm: nn.BatchNorm2d) -> None:
    """Counts the batch and hands over the running statistics, as `nn.BatchNorm2d` does."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    job.momentum = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    job.epsilon, job.running_mean, job.running_variance = norm.eps, norm.running_mean.data_ptr(), norm.running_var.data_ptr()


def _constants(norm: nn.BatchNorm2d) -> Tensor:
    """[4, channels]: factor, offset, mean and inverse deviation of a batch norm in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    inverse = (norm.running_var + norm.eps).rsqrt()
    factor = norm.weight.detach() * inverse
    return torch.stack([factor, norm.bias.detach() - norm.running_mean * factor, norm.running_mean, inverse])


def _learnt(quantizer: Known | None) -> Tensor | None:
    """What a quantizer's step is learnt by."""
    if quantizer is None or isinstance(quantizer, FixedGrid):
        return None
    return quantizer.level if isinstance(quantizer, PACT) else quantizer.log_scale


def _grid(job: _Job, quantizer: Known) -> None:
    job.low, job.high, job.lsq, job.step = quantizer.low, quantizer.high, not isinstance(quantizer, PACT), float(quantizer.scale.detach())
    if isinstance(quantizer, LSQPlus):
        job.low, job.learns_offset = -float(quantizer.zero.detach()), True
        job.high = job.low + quantizer.high - quantizer.low


def _of_learnt(quantizer: Learner, job: _Job, of_step: float, of_offset: float) -> tuple[float, float]:
    """Gradients of LSQ's and LSQ+'s log_scale, or of PACT's level, and of LSQ+'s offset."""
    if isinstance(quantizer, PACT):
        return (of_step / job.high if float(quantizer.level.detach()) >= SMALLEST else 0.0), 0.0
    levels = quantizer.high - quantizer.low if isinstance(quantizer, LSQPlus) else quantizer.high
    balance = (job.rows * job.channels * levels) ** -0.5
    unit = float(torch.as_tensor(quantizer.unit)) if isinstance(quantizer, LSQPlus) else 0.0
    return of_step * balance * job.step, of_offset * balance * unit


def _dense(weight: Tensor) -> Tensor:
    dense = weight.is_contiguous() or (weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last))
    return weight if dense else weight.contiguous()


def _laid_out_as(weight: Tensor, gradient: Tensor, dtype: torch.dtype) -> Tensor:
    plain = gradient.is_contiguous() and weight.is_contiguous()
    last = weight.dim() == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in (gradient, weight))
    if gradient.dtype == dtype and (plain or last):
        return gradient
    return torch.empty_like(weight, dtype=dtype).copy_(gradient)
