"""Depthwise convolution for bfloat16 training on a processor: forward in bfloat16, the slow half of the backward in float32.

oneDNN has no fast bfloat16 gradient for depthwise kernels wider than 3 or strides over 1: measured on an AMX machine (2
threads, batch 32), the input gradient of 96 x 112 x 112, 3x3, stride 2 takes 187 ms against 46 ms in float32, and the weight
gradient of 672 x 14 x 14, 5x5 takes 102 ms against 23 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class DepthwiseBackwardInFloat32(TorchFunctionMode):
    """Within it, bfloat16 autocast of such depthwise convolutions computes their gradients in float32."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is torch.conv2d and not kwargs and len(args) == 7 and torch.is_autocast_enabled("cpu") and _is_slow(*args):
            x, weight, _, stride, padding, _, _ = args
            return _Depthwise.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _is_slow(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    depthwise = groups == x.shape[1] == weight.shape[0] and groups > 1 and bias is None and tuple(dilation) == (1, 1)
    return depthwise and not isinstance(padding, str) and (max(stride) > 1 or weight.shape[-1] > 3)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        x = x.to(torch.bfloat16)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight.to(torch.bfloat16), None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        backward: Callable[..., tuple[Tensor, Tensor, None]] = torch.ops.aten.convolution_backward
        dx, dw, _ = backward(
            gradients[0].float(),
            x.float(),
            weight.float(),
            None,
            ctx.stride,
            ctx.padding,
            (1, 1),
            False,
            (0, 0),
            len(weight),
            (True, True, False),
        )
        return dx.to(torch.bfloat16), dw.to(weight.dtype), None, None
