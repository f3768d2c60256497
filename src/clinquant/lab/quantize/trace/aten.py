"""Rules for ATen operators: how each becomes nodes of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from clinquant.lab.quantize.trace.exported_tracer import ExportedTracer
from clinquant.lab.quantize.trace.shared import Pads, pair

Arguments = dict[str, Any]
"""Of one call, by the operator's own names."""


def _weights(tracer: ExportedTracer, a: dict[str, Any]) -> dict[str, Any]:
    return {role: tracer.array(a[role]) for role in ("weight", "bias") if a[role] is not None}


def _conv(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    before = tracer.pads.get(a["input"], (0, 0, 0, 0))
    pads = tuple(outer + own for outer, own in zip(before, _conv_pads(tracer, a), strict=True))
    settings = {"stride": pair(a["stride"]), "pads": pads, "dilation": pair(a["dilation"]), "groups": int(a["groups"])}
    tracer.add(fx_node, "conv", [a["input"]], params=_weights(tracer, a), **settings)


def _conv_pads(tracer: ExportedTracer, a: Arguments) -> Pads:
    """Top, left, bottom, right; `same` at stride 1 puts the odd one of an even kernel on the right and below, as torch does."""
    if a["padding"] == "valid":
        return (0, 0, 0, 0)
    if a["padding"] != "same":
        h, w = pair(a["padding"])
        return (h, w, h, w)
    height, width = tracer.values[a["weight"]].shape[2:]
    rows, columns = (d * (side - 1) for d, side in zip(pair(a["dilation"]), (height, width), strict=True))
    return (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)


def _batch_norm(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    if a["running_mean"] is None:
        raise tracer.refusal(fx_node, "batch norm without statistics", "track running statistics.")
    mean, variance = tracer.array(a["running_mean"]), tracer.array(a["running_var"])
    gamma = np.ones_like(mean) if a["weight"] is None else tracer.array(a["weight"])
    beta = np.zeros_like(mean) if a["bias"] is None else tracer.array(a["bias"])
    params = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    name, source, rank = tracer.name(fx_node), tracer.read(a["input"], fx_node), len(tracer.shapes[fx_node])
    if rank not in (2, 4):
        raise tracer.refusal(fx_node, f"batch norm of {rank} axes", "use it on planes [n, c, h, w] or vectors [n, c].")
    if rank == 2:
        source = tracer.append(f"{name}.plane", "unflatten", [source])
    normed = tracer.append(name, "batch_norm", [source], params=params, epsilon=float(a["eps"]))
    tracer.names[fx_node] = normed if rank == 4 else tracer.append(f"{name}.flat", "flatten", [normed])


def _linear(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    tokens = {"tokens": True} if len(tracer.shapes[fx_node]) > 2 else {}
    tracer.add(fx_node, "linear", [a["input"]], params=_weights(tracer, a), **tokens)


def _layer_norm(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    if len(a["normalized_shape"]) != 1:
        raise tracer.refusal(fx_node, f"layer norm over {a['normalized_shape']}", "normalise the last axis only.")
    features = int(a["normalized_shape"][0])
    gamma = np.ones(features, np.float32) if a["weight"] is None else tracer.array(a["weight"])
    beta = np.zeros(features, np.float32) if a["bias"] is None else tracer.array(a["bias"])
    tracer.add(fx_node, "layer_norm", [a["input"]], params={"gamma": gamma, "beta": beta}, epsilon=float(a["eps"]))


def _softmax(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    if int(a["dim"]) not in (-1, len(tracer.shapes[fx_node]) - 1):
        raise tracer.refusal(fx_node, f"softmax over axis {a['dim']}", "take it over the last axis.")
    tracer.add(fx_node, "softmax", [a["self"]])


def _plain(op: str, **fixed: Any) -> Callable[..., None]:
    """The rule of an operator of one tensor."""

    def rule(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
        tracer.add(fx_node, op, [next(iter(a.values()))], **fixed)

    return rule


def _alias(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """Changes nothing at inference."""
    source = next(iter(a.values()))
    tables: tuple[dict[fx.Node, Any], ...] = (tracer.names, tracer.values, tracer.pads)
    for known in tables:
        if source in known:
            known[fx_node] = known[source]


def _pad(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """Zeros around the plane, which the convolution that reads it takes over."""
    sides = [int(side) for side in a["pad"]]
    if a.get("mode", "constant") != "constant" or a["value"] not in (None, 0, 0.0) or len(sides) != 4 or min(sides) < 0:
        raise tracer.refusal(fx_node, f"padding {sides}, {a.get('mode')}", "pad the plane with zeros.")
    left, right, top, bottom = sides
    tracer.names[fx_node], tracer.pads[fx_node] = tracer.names[a["self"]], (top, left, bottom, right)


def _clip(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    low, high = (a[first] if first in a else a[second] for first, second in (("min_val", "min"), ("max_val", "max")))
    if (low, high) == (0, None):
        tracer.add(fx_node, "relu", [a["self"]])
        return
    if low is None or high is None:
        raise tracer.refusal(fx_node, "a bound on one side", "use ReLU, or give both bounds.")
    tracer.add(fx_node, "clip", [a["self"]], low=float(low), high=float(high))


def _gelu(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    tracer.add(fx_node, "gelu_tanh" if a["approximate"] == "tanh" else "gelu", [a["self"]])


def _leaky_relu(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    tracer.add(fx_node, "leaky_relu", [a["self"]], slope=float(a["negative_slope"]))


def _elu(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    if (a["scale"], a["input_scale"]) != (1, 1):
        raise tracer.refusal(fx_node, "SELU", "use ELU.")
    tracer.add(fx_node, "elu", [a["self"]], alpha=float(a["alpha"]))


def _arithmetic(op: str, as_affine: Callable[[float], tuple[float, float]]) -> Callable[..., None]:
    """The rule of an operator of two tensors, or of a tensor and a number, then an affine function."""

    def rule(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
        other = a["other"]
        if a.get("alpha", 1) not in (1, None):
            raise tracer.refusal(fx_node, "a sum with alpha", "multiply before adding.")
        if isinstance(other, int | float):
            factor, term = as_affine(float(other))
            tracer.add(fx_node, "affine", [a["self"]], factor=factor, term=term)
        elif op:
            tracer.add(fx_node, op, [a["self"], other])
        else:
            raise tracer.refusal(fx_node, "a quotient of two tensors", "use sums and products.")

    return rule


def _sub(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """A number less, or the sum with the other tensor's negative."""
    if isinstance(a["other"], int | float) or a.get("alpha", 1) != 1:
        _less(tracer, fx_node, a)
        return
    name, first = tracer.name(fx_node), tracer.read(a["self"], fx_node)
    negative = tracer.append(f"{name}.negative", "affine", [tracer.read(a["other"], fx_node)], factor=-1.0, term=0.0)
    tracer.names[fx_node] = tracer.append(name, "add", [first, negative])


def _prelu(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    slopes = tracer.array(a["weight"])
    if slopes.size != 1:
        raise tracer.refusal(fx_node, "PReLU with a slope a channel", "give it one slope (num_parameters=1), or use LeakyReLU.")
    tracer.add(fx_node, "leaky_relu", [a["self"]], slope=float(slopes.item()))


def _reverse_sub(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    if not isinstance(a["other"], int | float):
        raise tracer.refusal(fx_node, "a difference of two tensors", "use sums and products.")
    tracer.add(fx_node, "affine", [a["self"]], factor=-1.0, term=float(a["other"]))


def _concat(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    axis, rank = int(a["dim"]), len(tracer.shapes[fx_node])
    if axis % rank != 1:
        raise tracer.refusal(fx_node, f"concatenation along axis {axis}", "concatenate channels or tokens (dim=1).")
    tracer.add(fx_node, "concat", list(a["tensors"]))


def _pool(op: str) -> Callable[..., None]:
    def rule(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
        (h, w), kernel = pair(a["padding"]), pair(a["kernel_size"])
        stride = pair(a["stride"] or kernel)
        if pair(a.get("dilation", 1)) != (1, 1) or (h + w and not a.get("count_include_pad", True)):
            raise tracer.refusal(fx_node, "pooling with dilation or uncounted padding", "leave them at their defaults.")
        sides = zip(tracer.shapes[a["self"]][2:], (h, w), kernel, stride, strict=True)
        below, beside = (_beyond(*side) if a["ceil_mode"] else 0 for side in sides)
        if op == "average_pool" and below + beside:
            raise tracer.refusal(fx_node, "average pooling that rounds up (ceil_mode)", "leave ceil_mode at its default.")
        extra = {"count_include_pad": True} if op == "average_pool" else {}
        tracer.add(fx_node, op, [a["self"]], kernel=kernel, stride=stride, pads=(h, w, h + below, w + beside), **extra)

    return rule


def _beyond(side: int, pad: int, window: int, step: int) -> int:
    """Positions after the padding that the last window covers where sizes are rounded up; one that would begin there is left out."""
    last = -(-(side + 2 * pad - window) // step) * step
    begins = last if last < side + pad else last - step
    return max(0, begins + window - side - 2 * pad)


def _adaptive_pool(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """To one pixel, or, where the plane's sides are multiples of the result's, with the fixed window that this is."""
    before, after = tracer.shapes[a["self"]][2:], tracer.shapes[fx_node][2:]
    window = tuple(side // result for side, result in zip(before, after, strict=True))
    if after == (1, 1):
        tracer.add(fx_node, "global_average_pool", [a["self"]])
    elif before == after:
        _alias(tracer, fx_node, a)
    elif tuple(side * result for side, result in zip(window, after, strict=True)) == tuple(before):
        tracer.add(fx_node, "average_pool", [a["self"]], kernel=window, stride=window, pads=(0, 0, 0, 0), count_include_pad=True)
    else:
        what = f"adaptive pooling of {list(before)} to {list(after)}"
        raise tracer.refusal(fx_node, what, "pool to 1, or to a divisor of the plane's sides.")


def _mean(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """Over the plane, or over all tokens."""
    shape = tracer.shapes[a["self"]]
    axes = sorted(int(axis) % len(shape) for axis in (a["dim"] or []))
    name, source = tracer.name(fx_node), tracer.read(a["self"], fx_node)
    if len(shape) == 4 and axes == [2, 3]:
        pooled = tracer.append(name, "global_average_pool", [source])
        tracer.names[fx_node] = pooled if a["keepdim"] else tracer.append(f"{name}.flat", "flatten", [pooled])
    elif len(shape) == 3 and axes == [1] and shape[0] == -1 and not a["keepdim"]:
        turned = tracer.append(f"{name}.turned", "transpose", [source], axes=(0, 2, 1))
        plane = tracer.append(f"{name}.plane", "reshape", [turned], shape=(-1, shape[2], shape[1], 1))
        pooled = tracer.append(name, "global_average_pool", [plane])
        tracer.names[fx_node] = tracer.append(f"{name}.flat", "flatten", [pooled])
    else:
        raise tracer.refusal(fx_node, f"mean over {a['dim']}", "take the mean over the plane (2, 3) or over tokens (1).")


def _reshape(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """View, flatten, squeeze and their like: told by the shape before and after."""
    source = a["self"]
    before, after = tracer.shapes[source], tracer.shapes[fx_node]
    if before == after:
        _alias(tracer, fx_node, a)
    elif source in tracer.values:
        tracer.values[fx_node] = tracer.values[source].reshape(fx_node.meta["val"].shape)
    elif len(before) == 4 and len(after) == 2 and before[0] == after[0] == -1:
        tracer.add(fx_node, "flatten", [source])
    elif len(before) == 2 and after == (*before, 1, 1):
        tracer.add(fx_node, "unflatten", [source])
    elif after.count(-1) != 1:
        raise tracer.refusal(fx_node, f"reshape to {after}", "keep one axis for the images.")
    else:
        tracer.add(fx_node, "reshape", [source], shape=after)


def _transpose(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    axes = list(range(len(tracer.shapes[fx_node])))
    first, second = int(a["dim0"]), int(a["dim1"])
    axes[first], axes[second] = axes[second], axes[first]
    tracer.add(fx_node, "transpose", [a["self"]], axes=tuple(axes))


def _permute(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    rank = len(tracer.shapes[fx_node])
    tracer.add(fx_node, "transpose", [a["self"]], axes=tuple(int(axis) % rank for axis in a["dims"]))


def _select(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    axis, index = int(a["dim"]) % len(tracer.shapes[a["self"]]), int(a["index"])
    tracer.add(fx_node, "select", [a["self"]], axis=axis, index=index % _side(tracer, fx_node, a["self"], axis))


def _slice(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    before, after, axis = tracer.shapes[a["self"]], tracer.shapes[fx_node], int(a["dim"]) % len(tracer.shapes[fx_node])
    if before == after:
        _alias(tracer, fx_node, a)
    elif a["step"] != 1:
        raise tracer.refusal(fx_node, "a slice with steps", "slice without steps, or use a stride.")
    else:
        start = int(a["start"] or 0) % _side(tracer, fx_node, a["self"], axis)
        tracer.add(fx_node, "slice", [a["self"]], axis=axis, start=start, stop=start + after[axis])


def _chunks(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """chunk and split: slices one after the other."""
    axis, start = int(a["dim"]) % len(tracer.shapes[a["self"]]), 0
    _side(tracer, fx_node, a["self"], axis)
    tracer.parts[fx_node] = []
    for part in fx_node.meta["val"]:
        stop = start + int(part.shape[axis])
        tracer.parts[fx_node].append(("slice", {"axis": axis, "start": start, "stop": stop}, a["self"]))
        start = stop


def _unbind(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    axis = int(a["dim"]) % len(tracer.shapes[a["self"]])
    side = _side(tracer, fx_node, a["self"], axis)
    tracer.parts[fx_node] = [("select", {"axis": axis, "index": index}, a["self"]) for index in range(side)]


def _side(tracer: ExportedTracer, fx_node: fx.Node, source: fx.Node, axis: int) -> int:
    """Length of an axis, which must not hold the images."""
    side = tracer.shapes[source][axis]
    if side == -1:
        raise tracer.refusal(fx_node, "a part of the images", "treat all images alike.")
    return side


def _expand(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """A tensor of the module repeated for every image."""
    if a["self"] in tracer.values:
        tracer.names[fx_node] = tracer.constant(a["self"], tracer.shapes[fx_node], fx_node)
    elif tracer.shapes[a["self"]] == tracer.shapes[fx_node] or tracer.shapes[a["self"]][2:] == (1, 1):
        _alias(tracer, fx_node, a)
    else:
        raise tracer.refusal(fx_node, "a tensor repeated", "let the operator repeat it by itself.")


def _matmul(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    tracer.add(fx_node, "matmul", [a["self"], a["other"] if "other" in a else a["mat2"]], factor=1.0)


def _attention(tracer: ExportedTracer, fx_node: fx.Node, a: Arguments) -> None:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, arXiv 1706.03762, eq. 1)."""
    if a["attn_mask"] is not None or a["is_causal"] or a.get("enable_gqa"):
        raise tracer.refusal(fx_node, "attention with a mask", "attend to every token.")
    name, rank = tracer.name(fx_node), len(tracer.shapes[fx_node])
    query, key, value = (tracer.read(a[role], fx_node) for role in ("query", "key", "value"))
    axes = (*range(rank - 2), rank - 1, rank - 2)
    scale = 1.0 / math.sqrt(tracer.shapes[a["query"]][-1]) if a["scale"] is None else float(a["scale"])
    turned = tracer.append(f"{name}.key", "transpose", [key], axes=axes)
    scores = tracer.append(f"{name}.scores", "matmul", [query, turned], factor=scale)
    weights = tracer.append(f"{name}.weights", "softmax", [scores])
    tracer.names[fx_node] = tracer.append(name, "matmul", [weights, value], factor=1.0)


_less = _arithmetic("", lambda number: (1.0, -number))


ATEN: dict[str, Callable[..., None]] = {
    "conv2d": _conv,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
    "matmul": _matmul,
    "bmm": _matmul,
    "scaled_dot_product_attention": _attention,
    "relu": _plain("relu"),
    "relu6": _plain("clip", low=0.0, high=6.0),
    "hardtanh": _clip,
    "clamp": _clip,
    "silu": _plain("silu"),
    "hardswish": _plain("hard_swish"),
    "sigmoid": _plain("sigmoid"),
    "hardsigmoid": _plain("hard_sigmoid"),
    "tanh": _plain("tanh"),
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "mish": _plain("mish"),
    "elu": _elu,
    "add": _arithmetic("add", lambda number: (1.0, number)),
    "mul": _arithmetic("mul", lambda number: (number, 0.0)),
    "sub": _sub,
    "div": _arithmetic("", lambda number: (1.0 / number, 0.0)),
    "rsub": _reverse_sub,
    "cat": _concat,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "max_pool2d": _pool("max_pool"),
    "avg_pool2d": _pool("average_pool"),
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze"), _reshape),
    **dict.fromkeys(("dropout", "contiguous", "clone", "alias", "detach", "to", "_to_copy", "feature_dropout"), _alias),
    "transpose": _transpose,
    "permute": _permute,
    "select": _select,
    "slice": _slice,
    "chunk": _chunks,
    "split": _chunks,
    "split_with_sizes": _chunks,
    "unbind": _unbind,
    "expand": _expand,
    "expand_as": _expand,
}
"""ATen operator (in place or not) -> rule."""
