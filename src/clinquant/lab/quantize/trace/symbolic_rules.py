"""Rules for torch modules, functions and tensor methods: how torch.fx's node of each becomes nodes of a network."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.trace.arithmetic import add, divide, multiply, subtract
from clinquant.lab.quantize.trace.shared import array_of, pair
from clinquant.lab.quantize.trace.symbolic_tracer import SymbolicTracer, source_of

SHAPE_QUERIES: tuple[Any, ...] = ("size", getattr)
"""Calls that only ask for a shape, as in `x.view(x.size(0), -1)`."""


def _conv(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise ClinquantError("operator-unsupported", f"{fx_node.target}: padding {module.padding!r}.", fix="pad with a number of zeros.")
    source = source_of(fx_node)
    before = tracer.pads.get(source, (0, 0, 0, 0))
    h, w = pair(module.padding)
    params = {"weight": array_of(module.weight)} | ({} if module.bias is None else {"bias": array_of(module.bias)})
    tracer.add(
        fx_node,
        "conv",
        [source],
        params=params,
        stride=pair(module.stride),
        pads=(before[0] + h, before[1] + w, before[2] + h, before[3] + w),
        dilation=pair(module.dilation),
        groups=module.groups,
    )


def _batch_norm(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.BatchNorm2d) -> None:
    _norm(tracer, fx_node, source_of(fx_node), module)


def _norm(tracer: SymbolicTracer, fx_node: fx.Node, source: fx.Node, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    if module.running_mean is None or module.running_var is None:
        raise ClinquantError("operator-unsupported", f"{fx_node.target}: batch norm without statistics.", fix="track running statistics.")
    ones = torch.ones_like(module.running_mean)
    params = {
        "gamma": array_of(ones if module.weight is None else module.weight),
        "beta": array_of(ones * 0 if module.bias is None else module.bias),
        "mean": array_of(module.running_mean),
        "variance": array_of(module.running_var),
    }
    tracer.add(fx_node, "batch_norm", [source], params=params, epsilon=float(module.eps))


def _batch_norm_of_vectors(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.BatchNorm1d) -> None:
    """Of [n, c], as of planes of one pixel."""
    tracer.append(fx_node, f"{fx_node.name}_plane", "unflatten", [source_of(fx_node)])
    _norm(tracer, fx_node, fx_node, module)
    tracer.append(fx_node, f"{fx_node.name}_flat", "flatten", [fx_node])


def _linear(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Linear) -> None:
    params = {"weight": array_of(module.weight)} | ({} if module.bias is None else {"bias": array_of(module.bias)})
    tracer.add(fx_node, "linear", [source_of(fx_node)], params=params)


def _zero_pad(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.ZeroPad2d) -> None:
    left, right, top, bottom = module.padding
    tracer.names[fx_node] = tracer.names[source_of(fx_node)]
    tracer.pads[fx_node] = (top, left, bottom, right)


def _relu(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
    tracer.add(fx_node, "relu", [source_of(fx_node)])


def _clip(low: float, high: float) -> Callable[..., None]:
    def rule(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
        tracer.add(fx_node, "clip", [source_of(fx_node)], low=low, high=high)

    return rule


def _hardtanh(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Hardtanh) -> None:
    tracer.add(fx_node, "clip", [source_of(fx_node)], low=float(module.min_val), high=float(module.max_val))


def _max_pool(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    kernel, stride, padding, ceil, dilation = _pool_arguments(fx_node, module)
    if ceil or pair(dilation) != (1, 1):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: pooling with ceil_mode or dilation.", fix="leave both at their defaults."
        )
    tracer.add(fx_node, "max_pool", [source_of(fx_node)], kernel=kernel, stride=stride, pads=padding)


def _average_pool(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    kernel, stride, padding, ceil, _ = _pool_arguments(fx_node, module)
    include = module.count_include_pad if module is not None else fx_node.kwargs.get("count_include_pad", True)
    if ceil or (any(padding) and not include):
        raise ClinquantError(
            "operator-unsupported",
            f"{fx_node.name}: average pooling with ceil_mode or uncounted padding.",
            fix="leave both at their defaults.",
        )
    tracer.add(fx_node, "average_pool", [source_of(fx_node)], kernel=kernel, stride=stride, pads=padding, count_include_pad=True)


def _pool_arguments(fx_node: fx.Node, module: Any) -> tuple[Any, ...]:
    if module is not None:
        kernel, stride, padding, ceil = module.kernel_size, module.stride, module.padding, module.ceil_mode
        dilation = getattr(module, "dilation", 1)
    else:
        values = dict(zip(("kernel_size", "stride", "padding"), fx_node.args[1:], strict=False)) | fx_node.kwargs
        kernel, stride, padding = values["kernel_size"], values.get("stride"), values.get("padding", 0)
        ceil, dilation = values.get("ceil_mode", False), values.get("dilation", 1)
    h, w = pair(padding)
    return pair(kernel), pair(stride or kernel), (h, w, h, w), ceil, dilation


def _global_average_pool(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    size = module.output_size if module is not None else fx_node.args[1] if len(fx_node.args) > 1 else fx_node.kwargs["output_size"]
    if size not in (1, (1, 1), [1, 1]):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: adaptive pooling to {size}.", fix="pool to 1, or with a fixed window."
        )
    tracer.add(fx_node, "global_average_pool", [source_of(fx_node)])


def _mean(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    axes = fx_node.kwargs.get("dim", fx_node.args[1] if len(fx_node.args) > 1 else None)
    if not isinstance(axes, list | tuple) or sorted(int(a) % 4 for a in axes if isinstance(a, int)) != [2, 3]:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: mean over {axes}.", fix="take the mean over (2, 3) only.")
    tracer.add(fx_node, "global_average_pool", [source_of(fx_node)])
    keep = fx_node.kwargs.get("keepdim", fx_node.args[2] if len(fx_node.args) > 2 else False)
    if not keep:
        tracer.append(fx_node, f"{fx_node.name}_flat", "flatten", [fx_node])


def _flatten(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    tracer.add(fx_node, "flatten", [source_of(fx_node)])


def _view(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """Flattening, or [n, c] to [n, c, 1, 1]; the rehearsal tells any other reshape."""
    shape = fx_node.args[1] if isinstance(fx_node.args[1], list | tuple) else fx_node.args[1:]
    tracer.add(fx_node, "unflatten" if len(shape) == 4 and tuple(shape[2:]) == (1, 1) else "flatten", [source_of(fx_node)])


def _item(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """x[:, :, None, None]; other items are parts of shapes."""
    if fx_node.args[1] == (slice(None), slice(None), None, None):
        tracer.add(fx_node, "unflatten", [source_of(fx_node)])


def _unsqueeze(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """Two in a row append two axes."""
    if fx_node.args[1] not in (2, 3, -1):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: a new axis {fx_node.args[1]}.", fix="append axes 2 and 3 to [n, c] only."
        )
    source = source_of(fx_node)
    if source.target in ("unsqueeze", torch.unsqueeze):
        tracer.alias(fx_node)
    else:
        tracer.add(fx_node, "unflatten", [source])


def _alias(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    tracer.alias(fx_node)


def _dropout(tracer: SymbolicTracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
    if not tracer.dropout:
        tracer.alias(fx_node)
    elif module is None:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: dropout as a function.", fix="make it a layer.")
    else:
        tracer.add(fx_node, "affine", [source_of(fx_node)], factor=1.0, term=0.0)


def _elementwise(op: str, *parameters: tuple[str, str, float]) -> Callable[..., None]:
    """The rule of an activation; `parameters` as (our name, torch's, its default)."""

    def rule(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
        attributes = {}
        for position, (ours, theirs, default) in enumerate(parameters, start=1):
            given = fx_node.args[position] if len(fx_node.args) > position else fx_node.kwargs.get(theirs, default)
            attributes[ours] = float(getattr(module, theirs) if module is not None else given)  # type: ignore[arg-type]
        tracer.add(fx_node, op, [source_of(fx_node)], **attributes)

    return rule


def _gelu(tracer: SymbolicTracer, fx_node: fx.Node, module: Any = None) -> None:
    approximate = module.approximate if module is not None else fx_node.kwargs.get("approximate", "none")
    tracer.add(fx_node, "gelu_tanh" if approximate == "tanh" else "gelu", [source_of(fx_node)])


_leaky_relu = _elementwise("leaky_relu", ("slope", "negative_slope", 0.01))
_elu = _elementwise("elu", ("alpha", "alpha", 1.0))


def _concat(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    axis = fx_node.kwargs.get("dim", fx_node.args[1] if len(fx_node.args) > 1 else 0)
    if axis != 1:
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: concatenation along axis {axis}.", fix="concatenate channels (dim=1)."
        )
    tracer.add(fx_node, "concat", list(fx_node.args[0]))  # type: ignore[arg-type]


MODULES: dict[type[nn.Module], Callable[..., None]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm1d: _batch_norm_of_vectors,
    nn.Linear: _linear,
    nn.ReLU: _relu,
    nn.ReLU6: _clip(0.0, 6.0),
    nn.Hardtanh: _hardtanh,
    nn.SiLU: _elementwise("silu"),
    nn.Hardswish: _elementwise("hard_swish"),
    nn.Sigmoid: _elementwise("sigmoid"),
    nn.Hardsigmoid: _elementwise("hard_sigmoid"),
    nn.GELU: _gelu,
    nn.Tanh: _elementwise("tanh"),
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
    nn.ZeroPad2d: _zero_pad,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _global_average_pool,
    nn.Flatten: _flatten,
    nn.Dropout: _dropout,
    nn.Dropout2d: _dropout,
    nn.Identity: _alias,
}
"""torch module -> rule."""

FUNCTIONS: dict[Any, Callable[..., None]] = {
    operator.add: add,
    operator.iadd: add,
    torch.add: add,
    "add": add,
    "add_": add,
    operator.mul: multiply,
    operator.imul: multiply,
    torch.mul: multiply,
    "mul": multiply,
    "mul_": multiply,
    operator.sub: subtract,
    torch.sub: subtract,
    "sub": subtract,
    operator.truediv: divide,
    torch.div: divide,
    "div": divide,
    torch.cat: _concat,
    torch.concat: _concat,
    F.relu: _relu,
    torch.relu: _relu,
    "relu": _relu,
    "relu_": _relu,
    F.relu6: _clip(0.0, 6.0),
    F.silu: _elementwise("silu"),
    F.hardswish: _elementwise("hard_swish"),
    torch.sigmoid: _elementwise("sigmoid"),
    F.sigmoid: _elementwise("sigmoid"),
    "sigmoid": _elementwise("sigmoid"),
    "sigmoid_": _elementwise("sigmoid"),
    F.hardsigmoid: _elementwise("hard_sigmoid"),
    F.gelu: _gelu,
    torch.tanh: _elementwise("tanh"),
    F.tanh: _elementwise("tanh"),
    "tanh": _elementwise("tanh"),
    F.leaky_relu: _leaky_relu,
    F.elu: _elu,
    F.max_pool2d: _max_pool,
    F.avg_pool2d: _average_pool,
    F.adaptive_avg_pool2d: _global_average_pool,
    torch.mean: _mean,
    "mean": _mean,
    torch.flatten: _flatten,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
    torch.reshape: _view,
    operator.getitem: _item,
    "unsqueeze": _unsqueeze,
    torch.unsqueeze: _unsqueeze,
    "expand_as": _alias,
    F.dropout: _dropout,
    "contiguous": _alias,
}
"""torch function, or the name of a tensor method -> rule."""
