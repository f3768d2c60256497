"""Runs a `Network` in torch, floating point, showing every tensor to whoever watches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from clinquant.core.graph import Network, Node
from clinquant.core.preprocess import Preprocess

Watch = Callable[[str, torch.Tensor], None]
CLASS_MAP = "class_map.codes"
"""The name under which the class map is watched and gets its grid."""


class Executor:
    """A network with its arrays held as tensors, ready to run."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.params = {node.name: {role: torch.from_numpy(np.array(array)) for role, array in node.params.items()} for node in network}
        self.last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, watch: Watch | None = None) -> torch.Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]; `watch(name, tensor)` sees every tensor and the class map."""
        values: dict[str, torch.Tensor] = {}
        classifier = self.network.classifier()
        for index, node in enumerate(self.network.nodes):
            inputs = [values[name] for name in node.inputs] if node.inputs else [x]
            values[node.name] = result = RULES[node.op](node, inputs, self.params[node.name])
            if watch:
                watch(node.name, result)
                if classifier and classifier[0] == node.name:
                    watch(CLASS_MAP, F.conv2d(result, self.params[classifier[1].name]["weight"][:, :, None, None]))
            for name in set(node.inputs):
                if self.last_use[name] == index:
                    del values[name]
        return values[self.network.output.name]


def normalised(pixels: NDArray[np.uint8], preprocess: Preprocess) -> torch.Tensor:
    """(pixel - mean) / std as float32 NCHW of uint8 [n, s, s, 3]."""
    return standardised(torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float(), preprocess)


def standardised(images: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """(pixel - mean) / std of float32 [n, 3, s, s] in [0, 255]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (images - mean) / std


Params = Mapping[str, torch.Tensor]


def padded(x: torch.Tensor, pads: tuple[int, int, int, int]) -> tuple[torch.Tensor, tuple[int, int]]:
    """`x`, and the padding (y, x) left to the operator: none where `pads` (top, left, bottom, right) differ between sides."""
    top, left, bottom, right = pads
    return (x, (top, left)) if (top, left) == (bottom, right) else (F.pad(x, (left, right, top, bottom)), (0, 0))


def _conv(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    a = node.attributes
    x, padding = padded(inputs[0], a["pads"])
    return F.conv2d(x, params["weight"], params.get("bias"), a["stride"], padding, a["dilation"], a["groups"])


def _max_pool(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    top, left, bottom, right = node.attributes["pads"]
    x = inputs[0]
    if (top, left) != (bottom, right):
        x = F.pad(x, (0, right - left, 0, bottom - top), value=-math.inf)
    return F.max_pool2d(x, node.attributes["kernel"], node.attributes["stride"], (top, left))


def _average_pool(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    return F.avg_pool2d(inputs[0], node.attributes["kernel"], node.attributes["stride"], node.attributes["pads"][:2])


def _batch_norm(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    return F.batch_norm(
        inputs[0], params["mean"], params["variance"], params["gamma"], params["beta"], training=False, eps=node.attributes["epsilon"]
    )


def _layer_norm(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    return F.layer_norm(inputs[0], inputs[0].shape[-1:], params["gamma"], params["beta"], node.attributes["epsilon"])


def _slice(node: Node, inputs: list[torch.Tensor], params: Params) -> torch.Tensor:
    a = node.attributes
    return inputs[0].narrow(a["axis"], a["start"], a["stop"] - a["start"])


RULES: dict[str, Callable[[Node, list[torch.Tensor], Params], torch.Tensor]] = {
    "input": lambda node, inputs, params: inputs[0],
    "conv": _conv,
    "batch_norm": _batch_norm,
    "relu": lambda node, inputs, params: F.relu(inputs[0]),
    "clip": lambda node, inputs, params: F.hardtanh(inputs[0], node.attributes["low"], node.attributes["high"]),
    "add": lambda node, inputs, params: inputs[0] + inputs[1],
    "mul": lambda node, inputs, params: inputs[0] * inputs[1],
    "concat": lambda node, inputs, params: torch.cat(inputs, 1),
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": lambda node, inputs, params: inputs[0].mean((2, 3), keepdim=True),
    "flatten": lambda node, inputs, params: inputs[0].flatten(1),
    "unflatten": lambda node, inputs, params: inputs[0][:, :, None, None],
    "linear": lambda node, inputs, params: F.linear(inputs[0], params["weight"], params.get("bias")),
    "constant": lambda node, inputs, params: params["value"].expand(len(inputs[0]), *params["value"].shape[1:]),
    "reshape": lambda node, inputs, params: inputs[0].reshape(node.attributes["shape"]),
    "transpose": lambda node, inputs, params: inputs[0].permute(node.attributes["axes"]),
    "select": lambda node, inputs, params: inputs[0].select(node.attributes["axis"], node.attributes["index"]),
    "slice": _slice,
    "matmul": lambda node, inputs, params: inputs[0] @ inputs[1] * node.attributes["factor"],
    "softmax": lambda node, inputs, params: inputs[0].softmax(-1),
    "layer_norm": _layer_norm,
    "sigmoid": lambda node, inputs, params: torch.sigmoid(inputs[0]),
    "silu": lambda node, inputs, params: F.silu(inputs[0]),
    "hard_sigmoid": lambda node, inputs, params: F.hardsigmoid(inputs[0]),
    "hard_swish": lambda node, inputs, params: F.hardswish(inputs[0]),
    "gelu": lambda node, inputs, params: F.gelu(inputs[0]),
    "gelu_tanh": lambda node, inputs, params: F.gelu(inputs[0], approximate="tanh"),
    "tanh": lambda node, inputs, params: torch.tanh(inputs[0]),
    "mish": lambda node, inputs, params: F.mish(inputs[0]),
    "leaky_relu": lambda node, inputs, params: F.leaky_relu(inputs[0], node.attributes["slope"]),
    "elu": lambda node, inputs, params: F.elu(inputs[0], node.attributes["alpha"]),
    "affine": lambda node, inputs, params: inputs[0] * node.attributes["factor"] + node.attributes["term"],
}
"""Operator of a network -> its torch rule."""
