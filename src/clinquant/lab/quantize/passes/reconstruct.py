"""What reconstruction needs to see: every layer's inputs in the quantized network so far, and what the float network gives there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clinquant.core.affine import QParams, dequantize
from clinquant.core.graph import MOVES, Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.model import Calibration, Model, tensor_shapes
from clinquant.lab.quantize.on_grids import OnGrids, Params
from clinquant.lab.quantize.rounding import Activation, Problem

BATCH = 32
"""Images computed at once."""


class Twins:
    """The float network and the quantized one, walked node by node on the same images.

    Only tensors that are still to be read are held, in float32: `bytes_an_image` says how many that are at most.

    Attributes:
        floats, quantized: node name -> its output for all images; quantized ones on their grids.
    """

    def __init__(self, model: Model, floats: Network, images: Tensor) -> None:
        self.network, self.images = floats, images
        self.on_grids = OnGrids(model.network, model.activations, model.weights, model.widths)
        self.floats: dict[str, Tensor] = {}
        self.quantized: dict[str, Tensor] = {}
        self.last_use = {name: index for index, node in enumerate(floats.nodes) for name in node.inputs}

    def seen(self, node: Node) -> Tensor:
        """The first input of `node` as the quantized network gives it to that node."""
        return self.on_grids.read(self.quantized[node.inputs[0]], node.inputs[0], node)

    def advance(self, node: Node, learn: Callable[[Tensor], Params] | None = None) -> None:
        """Computes `node` in both networks, in the quantized one with what `learn` makes of the float output, or as it is in the model."""
        index = self.network.nodes.index(self.network[node.name])
        own = float_params(self.network[node.name])
        self.floats[node.name] = self._batched(lambda inputs: RULES[node.op](node, inputs, own), node, self.floats)
        params = learn(self.floats[node.name]) if learn else self.on_grids.params(node)
        self.quantized[node.name] = self._batched(lambda inputs: self.on_grids.compute(node, inputs, params), node, self.quantized)
        for name in set(node.inputs):
            if self.last_use[name] == index:
                del self.floats[name], self.quantized[name]

    @torch.no_grad()
    def _batched(self, compute: Callable[[list[Tensor]], Tensor], node: Node, values: Mapping[str, Tensor]) -> Tensor:
        inputs = [values[name] for name in node.inputs] or [self.images]
        if node.op in MOVES:
            return compute(inputs)
        return torch.cat([compute([tensor[start : start + BATCH] for tensor in inputs]) for start in range(0, len(inputs[0]), BATCH)])


def float_params(node: Node) -> Params:
    """A node's arrays as tensors."""
    return {role: torch.from_numpy(np.array(array)) for role, array in node.params.items()}


def bytes_an_image(network: Network, size: int) -> int:
    """Most bytes that `Twins` holds for one image at any time: two networks' live tensors, and the one that is made."""
    shapes = tensor_shapes(network, size)
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    live: dict[str, int] = {}
    most = 0
    for index, node in enumerate(network.nodes):
        live[node.name] = 4 * int(np.prod(shapes[node.name]))
        most = max(most, sum(live.values()) + live[node.name])
        live = {name: size for name, size in live.items() if last_use.get(name, -1) > index}
    return 2 * most


def images_within(model: Model, calibration: Calibration, most: int, memory: int) -> Tensor:
    """The first calibration images, normalised: at most `most`, and no more than fit into `memory` bytes (at least one)."""
    fit = max(1, memory // bytes_an_image(model.network, calibration.preprocess.size))
    return next(iter(calibration.batches(min(most, fit))))


def layer_problem(
    node: Node,
    grid: QParams,
    x: Tensor,
    target: Tensor,
    generator: torch.Generator,
    *,
    count: int,
    memory: int,
    activation: Activation | None = None,
) -> Problem:
    """What is to be minimised when the weights of the float `node` are rounded to `grid`.

    Args:
        x: its input in the quantized network.
        target: its output in the float network, before the activation.
        generator: of the positions that are sampled: `count`, or fewer where their inputs would take more than `memory` bytes.
        activation: what follows the layer; None for nothing.
    """
    weight = torch.from_numpy(np.array(node.params["weight"]))
    groups, channels, k = int(node.attributes.get("groups", 1)), len(weight), weight[0].numel()
    columns, wanted = positions(node, x, target, min(count, max(1, memory // (4 * groups * k))), generator)
    activation = activation or (lambda values: values)
    return Problem(
        columns=columns,
        target=activation(wanted),
        weight=weight.reshape(groups, channels // groups, k),
        bias=torch.from_numpy(np.array(node.params.get("bias", np.zeros(channels, np.float32)))).reshape(groups, 1, -1),
        scale=torch.from_numpy(np.array(grid.scale)).reshape(groups, -1, 1),
        low=grid.spec.qmin,
        high=grid.spec.qmax,
        activation=activation,
    )


def with_codes(node: Node, codes: Tensor, grid: QParams) -> Node:
    """`node` with the weight that `codes` stand for."""
    weight = dequantize(codes.reshape(node.params["weight"].shape).numpy(), grid)
    return replace(node, params={**node.params, "weight": weight})


def positions(node: Node, x: Tensor, target: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` output positions (at most all) of a weighted node, drawn without replacement.

    Args:
        x: its input for all images.
        target: [n, o, h, w], [n, o] or of tokens [n, t, o], its wanted output.

    Returns:
        columns [g, count, k] that its weight [g, o, k] multiplies, and targets [g, count, o].
    """
    if node.op == "linear":
        x, target = x.flatten(0, -2), target.flatten(0, -2)
        drawn = torch.randperm(len(x), generator=generator)[:count]
        return x[drawn][None], target[drawn][None]
    windows = _windows(node, x)
    n, _, h, w = target.shape
    drawn = torch.randperm(n * h * w, generator=generator)[:count]
    image, row, column = drawn // (h * w), drawn // w % h, drawn % w
    groups = int(node.attributes["groups"])
    columns = windows[image, :, row, column].reshape(len(drawn), groups, -1)
    wanted = target[image, :, row, column].reshape(len(drawn), groups, -1)
    return columns.transpose(0, 1).contiguous(), wanted.transpose(0, 1).contiguous()


def _windows(node: Node, x: Tensor) -> Tensor:
    """A view [n, c, h, w, kh, kw] of what a convolution reads at every output position."""
    a, (kh, kw) = node.attributes, node.params["weight"].shape[2:]
    top, left, bottom, right = a["pads"]
    padded = F.pad(x, (left, right, top, bottom))
    (dh, dw), (sh, sw) = a["dilation"], a["stride"]
    return padded.unfold(2, (kh - 1) * dh + 1, sh).unfold(3, (kw - 1) * dw + 1, sw)[..., ::dh, ::dw]
