"""Traces with torch.fx: rules for torch modules, functions and tensor methods."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.arithmetic import add, divide, multiply, subtract
from clinquant.lab.quantize.in_place import changes_what_others_read


def trace_symbolically(module: nn.Module, *, dropout: bool = False) -> Network:
    """The network that `module` (in eval mode) computes, batch norm still apart; with `dropout` its layers of that are
    nodes too, which change nothing.

    Raises as `trace`.
    """
    try:
        graph_module = fx.symbolic_trace(module.eval())
    except Exception as error:  # fx raises many kinds, all meaning the same to the user
        raise ClinquantError(
            "trace-failed",
            f"torch.fx cannot trace {type(module).__name__} ({str(error).splitlines()[0]}).",
            fix="remove control flow that depends on tensor values.",
        ) from error
    return _Tracer(graph_module, dropout=dropout).network()


class _Tracer:
    """Turns fx nodes into ours, one at a time."""

    def __init__(self, graph_module: fx.GraphModule, *, dropout: bool = False) -> None:
        self.graph_module, self.dropout = graph_module, dropout
        self.modules = dict(graph_module.named_modules())
        self.nodes: list[Node] = []
        self.names: dict[fx.Node, str] = {}
        self.pads: dict[fx.Node, tuple[int, int, int, int]] = {}

    def network(self) -> Network:
        for fx_node in self.graph_module.graph.nodes:
            self._visit(fx_node)
        last = next(node for node in reversed(self.graph_module.graph.nodes) if node.op == "output").args[0]
        if not isinstance(last, fx.Node) or self.names[last] != self.nodes[-1].name:
            raise ClinquantError("trace-failed", "the network must return one tensor, its logits.", fix="return the logits alone.")
        return Network(nodes=tuple(self.nodes))

    def _visit(self, fx_node: fx.Node) -> None:
        if changes_what_others_read(fx_node, self.modules):
            raise ClinquantError("trace-failed", f"{fx_node.name} changes in place what others read.", fix="leave inplace=True out there.")
        if fx_node.op == "placeholder":
            if self.nodes:
                raise ClinquantError("trace-failed", "the network takes more than one input.", fix="take the image alone.")
            self._append(fx_node, "input", "input", [])
        elif fx_node.op == "call_module":
            module = self.modules[str(fx_node.target)]
            kind = type_before_parametrizations(module)
            rule = _rule(MODULES, kind, str(fx_node.target), kind.__name__)
            rule(self, fx_node, module)
        elif fx_node.op in ("call_function", "call_method"):
            key = fx_node.target
            if key in SHAPE_QUERIES:
                return
            rule = _rule(FUNCTIONS, key, fx_node.name, getattr(key, "__name__", str(key)))
            rule(self, fx_node)
        elif fx_node.op == "get_attr":
            raise ClinquantError(
                "operator-unsupported", f"{fx_node.target}: a free tensor cannot be made integer.", fix="put it into a Conv2d or Linear."
            )

    def add(self, fx_node: fx.Node, op: str, inputs: list[fx.Node], **attributes: Any) -> None:
        """Appends our node for `fx_node`."""
        params = attributes.pop("params", {})
        name = str(fx_node.target) if fx_node.op == "call_module" else fx_node.name
        self._append(fx_node, self._free(name), op, inputs, params, attributes)

    def _free(self, name: str) -> str:
        """`name`, with a number behind it where a layer is called again or the exported file needs the name itself."""
        taken = {node.name for node in self.nodes} | {"image", "logits", "class_map", "input"}
        names = (name, *(f"{name}.{count}" for count in range(2, len(taken) + 3)))
        return next(candidate for candidate in names if candidate not in taken)

    def alias(self, fx_node: fx.Node) -> None:
        """`fx_node` changes nothing at inference."""
        source = _source(fx_node)
        self.names[fx_node] = self.names[source]
        if source in self.pads:
            self.pads[fx_node] = self.pads[source]

    def _append(
        self, fx_node: fx.Node, name: str, op: str, inputs: list[fx.Node], params: Any = None, attributes: dict[str, Any] | None = None
    ) -> None:
        padded = [source for source in inputs if source in self.pads]
        if padded and op != "conv":
            raise ClinquantError("operator-unsupported", f"{name}: zero padding before {op}.", fix="pad only before a convolution.")
        unknown = [source.name for source in inputs if source not in self.names]
        if unknown:
            raise ClinquantError(
                "operator-unsupported", f"{name}: it reads {unknown[0]}, a part of a tensor or its shape.", fix="read whole tensors only."
            )
        self.nodes.append(
            Node(name=name, op=op, inputs=tuple(self.names[source] for source in inputs), params=params or {}, attributes=attributes or {})
        )
        self.names[fx_node] = name


def _rule(rules: dict[Any, Any], key: Any, layer: str, kind: str) -> Any:
    if key not in rules:
        raise ClinquantError(
            "operator-unsupported",
            f"{layer}: {kind} has no integer form here.",
            fix="replace it by a layer that docs/methods/architectures.md names, or choose an --arch of the zoo.",
        )
    return rules[key]


def _source(fx_node: fx.Node) -> fx.Node:
    source = fx_node.args[0]
    assert isinstance(source, fx.Node)
    return source


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().to(torch.float32).cpu().numpy().copy()


def _conv(tracer: _Tracer, fx_node: fx.Node, module: nn.Conv2d) -> None:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        raise ClinquantError("operator-unsupported", f"{fx_node.target}: padding {module.padding!r}.", fix="pad with a number of zeros.")
    source = _source(fx_node)
    before = tracer.pads.get(source, (0, 0, 0, 0))
    h, w = _pair(module.padding)
    params = {"weight": _array(module.weight)} | ({} if module.bias is None else {"bias": _array(module.bias)})
    tracer.add(
        fx_node,
        "conv",
        [source],
        params=params,
        stride=_pair(module.stride),
        pads=(before[0] + h, before[1] + w, before[2] + h, before[3] + w),
        dilation=_pair(module.dilation),
        groups=module.groups,
    )


def _batch_norm(tracer: _Tracer, fx_node: fx.Node, module: nn.BatchNorm2d) -> None:
    _norm(tracer, fx_node, _source(fx_node), module)


def _norm(tracer: _Tracer, fx_node: fx.Node, source: fx.Node, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    if module.running_mean is None or module.running_var is None:
        raise ClinquantError("operator-unsupported", f"{fx_node.target}: batch norm without statistics.", fix="track running statistics.")
    ones = torch.ones_like(module.running_mean)
    params = {
        "gamma": _array(ones if module.weight is None else module.weight),
        "beta": _array(ones * 0 if module.bias is None else module.bias),
        "mean": _array(module.running_mean),
        "variance": _array(module.running_var),
    }
    tracer.add(fx_node, "batch_norm", [source], params=params, epsilon=float(module.eps))


def _batch_norm_of_vectors(tracer: _Tracer, fx_node: fx.Node, module: nn.BatchNorm1d) -> None:
    """Of [n, c], as of planes of one pixel."""
    tracer._append(fx_node, f"{fx_node.name}_plane", "unflatten", [_source(fx_node)])
    _norm(tracer, fx_node, fx_node, module)
    tracer._append(fx_node, f"{fx_node.name}_flat", "flatten", [fx_node])


def _linear(tracer: _Tracer, fx_node: fx.Node, module: nn.Linear) -> None:
    params = {"weight": _array(module.weight)} | ({} if module.bias is None else {"bias": _array(module.bias)})
    tracer.add(fx_node, "linear", [_source(fx_node)], params=params)


def _zero_pad(tracer: _Tracer, fx_node: fx.Node, module: nn.ZeroPad2d) -> None:
    left, right, top, bottom = module.padding
    tracer.names[fx_node] = tracer.names[_source(fx_node)]
    tracer.pads[fx_node] = (top, left, bottom, right)


def _relu(tracer: _Tracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
    tracer.add(fx_node, "relu", [_source(fx_node)])


def _clip(low: float, high: float) -> Callable[..., None]:
    def rule(tracer: _Tracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
        tracer.add(fx_node, "clip", [_source(fx_node)], low=low, high=high)

    return rule


def _hardtanh(tracer: _Tracer, fx_node: fx.Node, module: nn.Hardtanh) -> None:
    tracer.add(fx_node, "clip", [_source(fx_node)], low=float(module.min_val), high=float(module.max_val))


def _max_pool(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    kernel, stride, padding, ceil, dilation = _pool_arguments(fx_node, module)
    if ceil or _pair(dilation) != (1, 1):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: pooling with ceil_mode or dilation.", fix="leave both at their defaults."
        )
    tracer.add(fx_node, "max_pool", [_source(fx_node)], kernel=kernel, stride=stride, pads=padding)


def _average_pool(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    kernel, stride, padding, ceil, _ = _pool_arguments(fx_node, module)
    include = module.count_include_pad if module is not None else fx_node.kwargs.get("count_include_pad", True)
    if ceil or (any(padding) and not include):
        raise ClinquantError(
            "operator-unsupported",
            f"{fx_node.name}: average pooling with ceil_mode or uncounted padding.",
            fix="leave both at their defaults.",
        )
    tracer.add(fx_node, "average_pool", [_source(fx_node)], kernel=kernel, stride=stride, pads=padding, count_include_pad=True)


def _pool_arguments(fx_node: fx.Node, module: Any) -> tuple[Any, ...]:
    if module is not None:
        kernel, stride, padding, ceil = module.kernel_size, module.stride, module.padding, module.ceil_mode
        dilation = getattr(module, "dilation", 1)
    else:
        values = dict(zip(("kernel_size", "stride", "padding"), fx_node.args[1:], strict=False)) | fx_node.kwargs
        kernel, stride, padding = values["kernel_size"], values.get("stride"), values.get("padding", 0)
        ceil, dilation = values.get("ceil_mode", False), values.get("dilation", 1)
    h, w = _pair(padding)
    return _pair(kernel), _pair(stride or kernel), (h, w, h, w), ceil, dilation


def _global_average_pool(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    size = module.output_size if module is not None else fx_node.args[1] if len(fx_node.args) > 1 else fx_node.kwargs["output_size"]
    if size not in (1, (1, 1), [1, 1]):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: adaptive pooling to {size}.", fix="pool to 1, or with a fixed window."
        )
    tracer.add(fx_node, "global_average_pool", [_source(fx_node)])


def _mean(tracer: _Tracer, fx_node: fx.Node) -> None:
    axes = fx_node.kwargs.get("dim", fx_node.args[1] if len(fx_node.args) > 1 else None)
    if not isinstance(axes, list | tuple) or sorted(int(a) % 4 for a in axes if isinstance(a, int)) != [2, 3]:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: mean over {axes}.", fix="take the mean over (2, 3) only.")
    tracer.add(fx_node, "global_average_pool", [_source(fx_node)])
    keep = fx_node.kwargs.get("keepdim", fx_node.args[2] if len(fx_node.args) > 2 else False)
    if not keep:
        tracer._append(fx_node, f"{fx_node.name}_flat", "flatten", [fx_node])


def _flatten(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    tracer.add(fx_node, "flatten", [_source(fx_node)])


def _view(tracer: _Tracer, fx_node: fx.Node) -> None:
    """Flattening, or [n, c] to [n, c, 1, 1]; the rehearsal tells any other reshape."""
    shape = fx_node.args[1] if isinstance(fx_node.args[1], list | tuple) else fx_node.args[1:]
    tracer.add(fx_node, "unflatten" if len(shape) == 4 and tuple(shape[2:]) == (1, 1) else "flatten", [_source(fx_node)])


def _item(tracer: _Tracer, fx_node: fx.Node) -> None:
    """x[:, :, None, None]; other items are parts of shapes."""
    if fx_node.args[1] == (slice(None), slice(None), None, None):
        tracer.add(fx_node, "unflatten", [_source(fx_node)])


def _unsqueeze(tracer: _Tracer, fx_node: fx.Node) -> None:
    """Two in a row append two axes."""
    if fx_node.args[1] not in (2, 3, -1):
        raise ClinquantError(
            "operator-unsupported", f"{fx_node.name}: a new axis {fx_node.args[1]}.", fix="append axes 2 and 3 to [n, c] only."
        )
    source = _source(fx_node)
    if source.target in ("unsqueeze", torch.unsqueeze):
        tracer.alias(fx_node)
    else:
        tracer.add(fx_node, "unflatten", [source])


def _alias(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    tracer.alias(fx_node)


def _dropout(tracer: _Tracer, fx_node: fx.Node, module: nn.Module | None = None) -> None:
    if not tracer.dropout:
        tracer.alias(fx_node)
    elif module is None:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: dropout as a function.", fix="make it a layer.")
    else:
        tracer.add(fx_node, "affine", [_source(fx_node)], factor=1.0, term=0.0)


def _elementwise(op: str, *parameters: tuple[str, str, float]) -> Callable[..., None]:
    """The rule of an activation; `parameters` as (our name, torch's, its default)."""

    def rule(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
        attributes = {}
        for position, (ours, theirs, default) in enumerate(parameters, start=1):
            given = fx_node.args[position] if len(fx_node.args) > position else fx_node.kwargs.get(theirs, default)
            attributes[ours] = float(getattr(module, theirs) if module is not None else given)  # type: ignore[arg-type]
        tracer.add(fx_node, op, [_source(fx_node)], **attributes)

    return rule


def _gelu(tracer: _Tracer, fx_node: fx.Node, module: Any = None) -> None:
    approximate = module.approximate if module is not None else fx_node.kwargs.get("approximate", "none")
    tracer.add(fx_node, "gelu_tanh" if approximate == "tanh" else "gelu", [_source(fx_node)])


_leaky_relu = _elementwise("leaky_relu", ("slope", "negative_slope", 0.01))
_elu = _elementwise("elu", ("alpha", "alpha", 1.0))


def _concat(tracer: _Tracer, fx_node: fx.Node) -> None:
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

SHAPE_QUERIES: tuple[Any, ...] = ("size", getattr)
"""Calls that only ask for a shape, as in `x.view(x.size(0), -1)`."""
