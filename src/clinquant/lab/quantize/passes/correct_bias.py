"""Takes the mean error that rounding makes out of every layer's bias (Nagel et al. 2019, arXiv 1906.04721, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clinquant.core.graph import Network, Node
from clinquant.lab.quantize.execute import RULES
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.moments import activation_moments
from clinquant.lab.quantize.on_grids import Params, on_grid
from clinquant.lab.quantize.passes.reconstruct import BATCH, Twins, float_params, images_within


@dataclass(frozen=True, kw_only=True)
class CorrectBias:
    """b <- b - E[y~ - y], a channel at a time, for every layer in order.

    Attributes:
        by: `images` takes the expectation over calibration images, y~ from the inputs that the quantized network so far really gives, so
            that errors of layers before are taken out as well. `batch_norm` needs no image: y~ - y = (W~ - W) x, with E[x] from the batch
            norm before (see `moments`); layers of which it cannot be told keep their bias.
        images: calibration images used at most; fewer where their tensors would take more than `memory` bytes.
    """

    by: Literal["images", "batch_norm"] = "images"
    images: int = 512
    memory: int = 1 << 30

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with corrected biases, weights and grids as they are.

        Raises:
            ClinquantError: `pass-order`.
        """
        floats = model.needs_floats(by="CorrectBias")
        corrected = self.by_images(model, floats, calibration) if self.by == "images" else by_batch_norm(model, floats)
        return replace(model, network=model.network.replaced(corrected))

    def by_images(self, model: Model, floats: Network, calibration: Calibration) -> dict[str, Node | None]:
        """Node name -> node with its bias corrected by what was seen of both networks."""
        twins = Twins(model, floats, images_within(model, calibration, self.images, self.memory))
        changes: dict[str, Node | None] = {}
        for done, node in enumerate(model.network):

            def correct(target: Tensor, node: Node = node) -> Params:
                params = twins.on_grids.params(node)
                error = mean_error(node, twins.seen(node), params, target)
                changes[node.name] = new = with_bias(node, error)
                return params | {"bias": float_params(new)["bias"]}

            twins.advance(node, correct if node.name in model.weights else None)
            calibration.tell(done + 1, len(model.network.nodes))
        return changes


def mean_error(node: Node, x: Tensor, params: Params, target: Tensor) -> NDArray[np.float64]:
    """[o] mean over images and positions of what `node` gives for `x` with `params`, less `target`."""
    axis = -1 if node.op == "linear" else 1
    total = torch.zeros(target.shape[axis], dtype=torch.float64)
    for start in range(0, len(x), BATCH):
        error = RULES[node.op](node, [x[start : start + BATCH]], params) - target[start : start + BATCH]
        total += error.double().movedim(axis, 0).flatten(1).sum(1)
    return (total / (target.numel() / target.shape[axis])).numpy()


def by_batch_norm(model: Model, floats: Network) -> dict[str, Node | None]:
    """Node name -> node with its bias corrected by the expectation of its input under batch norm's parameters."""
    moments = activation_moments(floats)
    changes: dict[str, Node | None] = {}
    for node in model.network:
        if node.name in model.weights and node.inputs[0] in moments:
            params = float_params(node)
            change = on_grid(params["weight"], model.weights[node.name]).double() - float_params(floats[node.name])["weight"].double()
            changes[node.name] = with_bias(node, expected(node, change.numpy(), moments[node.inputs[0]].mean))
    return changes


def expected(node: Node, change: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """[o] expectation of a convolution or linear layer with weight `change` [o, i, ...], of inputs with `mean` [channels].

    Positions at the border, where padding stands for some of the inputs, are taken like all others.
    """
    if node.op == "linear":
        return np.asarray(change @ np.repeat(mean, change.shape[1] // len(mean)), np.float64)
    groups = int(node.attributes["groups"])
    taps = change.sum((2, 3)).reshape(groups, len(change) // groups, -1)
    return np.asarray(np.einsum("goi,gi->go", taps, mean.reshape(groups, -1)).reshape(-1), np.float64)


def with_bias(node: Node, error: NDArray[np.float64]) -> Node:
    """`node` with `error` [o] taken out of its bias."""
    bias = node.params.get("bias", np.zeros(len(error), np.float32)) - error
    return replace(node, params={**node.params, "bias": bias.astype(np.float32)})
