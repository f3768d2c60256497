"""Convolutions that are computed in float32 and learn in bfloat16: two thirds of a training step are gradients, which need no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PLAIN = 7
"""Arguments of `torch.conv2d` as `functional.conv2d` is called with all of them: x, weight, bias, stride, padding, dilation, groups."""


class ConvolutionBackwardInBfloat16(TorchFunctionMode):
    """Within it, float32 convolutions of one group compute their gradients in bfloat16; depthwise ones do not (`lab.depthwise`)."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == PLAIN and args[-1] == 1 and torch.is_grad_enabled():
            return _Convolution.apply(*args)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
        ctx.save_for_backward(x.bfloat16(), weight.bfloat16())
        ctx.at, ctx.has_bias = (stride, padding, dilation), bias is not None
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        backward: Callable[..., tuple[Tensor | None, Tensor, None]] = torch.ops.aten.convolution_backward
        needed = (*ctx.needs_input_grad[:2], False)
        of_x, of_weight, _ = backward(gradients[0].bfloat16(), x, weight, None, *ctx.at, False, (0, 0), 1, needed)
        of_bias = gradients[0].sum((0, 2, 3)) if ctx.has_bias else None
        return None if of_x is None else of_x.float(), of_weight.float(), of_bias, None, None, None, None
