"""Quantization-aware training: the network trains on with its weights and activations on their grids.

Batch norm stays live. Afterwards its factor goes into the weights' scales and its shift into the bias, which is exact: codes times
scale times factor are the same codes times another scale (a negative factor flips them, and the grid is symmetric).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.affine import QParams
from clinquant.core.graph import Network, Node
from clinquant.core.preprocess import Preprocess
from clinquant.lab.augment import Augment, augment
from clinquant.lab.quantize.execute import RULES, standardised
from clinquant.lab.quantize.fake_quant import ACTIVATION_QUANTIZERS, LSQ, METHODS, WEIGHT_QUANTIZERS, FakeQuantizer
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.gridded import Gridded
from clinquant.lab.quantize.grids import grid_of, watch_points
from clinquant.lab.quantize.model import Model
from clinquant.lab.quantize.naming import child_name
from clinquant.lab.quantize.oscillation import Oscillation
from clinquant.lab.quantize.quantized import Trained
from clinquant.lab.quantize.widths import WHOLE, inner_layers

BINDING = ("add", "mul", "sigmoid", "hard_sigmoid")
"""Operators whose grids are settled together when a network is put on grids."""


DEAD = 1e-8
"""Batch norm factors of channels whose weights do not matter."""

NORM_IMAGES = 1024
"""Training images that batch norm statistics are taken from anew."""


class FakeQuantized(Gridded):
    """A network with batch norm, its inner layers' weights and what they read on learnt grids, all else as in float.

    Grids of 8 bits that sums or products bind (`free_grids`) stay float, and are found anew from the trained network.

    Args:
        network: as traced, batch norm apart.
        start: the same network after post-training quantization, whose grids are where learning starts. So are the inner weights that
            it rounded with others in mind (GPTQ, AdaRound), where the method's weights start on those grids.
        method: a key of `fake_quant.METHODS`.
        watched: keep count of oscillating weights, so that they can be frozen.
        keeps_feature: keep the feature map before the global pooling of the last forward.

    Attributes:
        feature: that map, [n, c, h, w], with its graph; None where it is not kept, or the network ends otherwise.
    """

    def __init__(self, network: Network, start: Model, method: str, *, watched: bool = False, keeps_feature: bool = False) -> None:
        super().__init__()
        self.network = network = with_rounding(network, start) if METHODS[method].keeps_grid else network
        self.classifier = network.classifier() if keeps_feature else None
        self.feature: Tensor | None = None
        self.inner: Set[str] = inner_layers(network)
        self.widths = start.widths
        self.params = nn.ModuleDict({child_name(node.name): _params(node) for node in network if node.params})
        held = {node.name: self.params[child_name(node.name)] for node in network if node.params}
        self.norms = {name: norm for name, norm in held.items() if isinstance(norm, nn.BatchNorm2d)}
        self.weight_quantizers, self.activation_quantizers = nn.ModuleDict(), nn.ModuleDict()
        self.oscillations = nn.ModuleDict()
        folded = start.network
        for name in sorted(self.inner):
            grid, ratio = start.weights[name], _factor(network, folded, name)
            scale = torch.from_numpy(np.maximum(grid.scale / ratio, 1e-8).astype(np.float32))
            weight = torch.from_numpy(np.array(network[name].params["weight"]))
            quantizer = WEIGHT_QUANTIZERS[METHODS[method].weight](weight, scale, grid.spec)
            self.weight_quantizers[child_name(name)] = quantizer
            if watched and isinstance(quantizer, LSQ):
                self.oscillations[child_name(name)] = Oscillation(weight, quantizer)
        free = free_grids(start)
        for name, grid in sorted(start.activations.items()):
            if grid.spec.bits < 8 or name in free:
                self.activation_quantizers[child_name(name)] = _activation_quantizer(method, grid)
        bare, norm_after = without_norms(network), {node.inputs[0]: node.name for node in network if node.op == "batch_norm"}
        grids = grid_of(bare)
        self.grids = {node.name: grids.get(node.inputs[0] if node.op == "batch_norm" else node.name, node.name) for node in network}
        self.write_points = {norm_after.get(name, name): child_name(grid) for name, grid in watch_points(bare).items()}

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, k] of normalised images [n, 3, s, s]."""
        learns = self.training or (x.requires_grad and torch.is_grad_enabled())
        return self.fused(self, x) if learns and self.fused is not None else self.plain(x)

    def answered(self, values: Mapping[str, Tensor]) -> Tensor:
        """The logits among all tensors; the feature map is kept where that was asked."""
        self.feature = values[self.classifier[0]] if self.classifier else None
        return values[self.network.output.name]

    @property
    def class_weights(self) -> Tensor:
        """[classes, c] of the last linear layer."""
        assert self.classifier is not None
        return torch.as_tensor(self.params[child_name(self.classifier[1].name)]["weight"])  # type: ignore[index]

    def learnt_weights(self) -> dict[str, tuple[Tensor, LSQ]]:
        """Key -> weight and quantizer of every layer whose weight learns its step."""
        found = {key: quantizer for key, quantizer in self.weight_quantizers.items() if isinstance(quantizer, LSQ)}
        return {key: (self.params[key]["weight"], quantizer) for key, quantizer in found.items()}  # type: ignore[index]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Role -> tensor of a node that is no batch norm."""
        return dict(self.params[child_name(name)].items())  # type: ignore[operator]

    def compute(self, node: Node, inputs: list[Tensor], weight: Tensor | None = None) -> Tensor:
        """The node's operator, its weight on the grid where it is an inner layer: `weight`, if it was computed already."""
        if child_name(node.name) not in self.params:
            return RULES[node.op](node, inputs, {})
        held = self.params[child_name(node.name)]
        if isinstance(held, nn.BatchNorm2d):
            return torch.as_tensor(held(inputs[0]))
        params: dict[str, Tensor] = dict(held.items())  # type: ignore[operator]
        if node.name in self.inner:
            params["weight"] = self.weight_quantizers[child_name(node.name)](params["weight"]) if weight is None else weight
        return RULES[node.op](node, inputs, params)


def with_rounding(network: Network, start: Model) -> Network:
    """`network` with what passes after `PutOnGrids` did to inner weights of `start`, batch norm's factor taken out."""
    if start.floats is None:
        return network
    changes: dict[str, Node | None] = {}
    for name in inner_layers(network):
        change = start.network[name].params["weight"] - start.floats[name].params["weight"]
        if change.any():
            factor = _factor(network, start.floats, name, signed=True)
            apart = np.divide(1.0, factor, out=np.zeros_like(factor), where=np.abs(factor) > DEAD).reshape(-1, *[1] * (change.ndim - 1))
            node = network[name]
            changes[name] = replace(node, params={**node.params, "weight": (node.params["weight"] + change * apart).astype(np.float32)})
    return network.replaced(changes)


def free_grids(start: Model) -> set[str]:
    """Grids of 8 bits that inner layers read and that no sum, product or gate binds, so that they may be learnt."""
    grids = grid_of(start.network)
    bound = {
        "input",
        *(name for node in start.network if node.op in BINDING for name in (grids[node.name], *map(grids.__getitem__, node.inputs))),
    }
    read = {grids[source] for node in start.network if start.widths.activation.get(node.name) == WHOLE for source in node.inputs}
    return {name for name in read - bound if start.activations[name].zero_point < start.activations[name].spec.qmax}


def without_norms(network: Network) -> Network:
    """`network` with its batch norms left out: the names that grids go by."""
    return network.replaced({node.name: None for node in network if node.op == "batch_norm"})


@torch.no_grad()
def reestimate_norms(
    module: nn.Module, pixels: NDArray[np.uint8], preprocess: Preprocess, views: Augment, *, batch: int = 32, seed: int = 0
) -> None:
    """Batch norm statistics anew, as plain means over batches of `NORM_IMAGES` of uint8 [n, s, s, 3]: those of training lag behind.

    The images are drawn at random and seen in random `views`, as batches of training are. Those of a folder come class by class, and a
    batch of one class is narrower than what the network meets; and statistics of plain images would move the decisions of a network whose
    float original has those of views.
    """
    module.eval()  # ranges stay where training left them
    for norm in [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    rows = np.random.default_rng(seed).permutation(len(pixels))[:NORM_IMAGES]
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, max(len(rows) - batch, 0) + 1, batch):
        seen = augment(torch.from_numpy(pixels[rows[start : start + batch]]), views, generator)
        module(standardised(seen, preprocess))
    module.eval()


@torch.no_grad()
def trained(module: FakeQuantized, start: Model) -> Trained:
    """The network after training, batch norm folded, inner weights exactly on their grids."""
    nodes, scales, latents = [], {}, {}
    for node in module.network:
        if child_name(node.name) not in module.params:
            nodes.append(node)
            continue
        held = module.params[child_name(node.name)]
        if isinstance(held, nn.BatchNorm2d):
            nodes.append(replace(node, params=_norm_params(held)))
            continue
        params = {role: value.detach().cpu().numpy().copy() for role, value in held.items()}  # type: ignore[operator]
        if node.name in module.inner:
            quantizer, weight = _quantizer(module.weight_quantizers, node.name), torch.as_tensor(held["weight"])  # type: ignore[index]
            params["weight"] = quantizer(weight).cpu().numpy()
            latents[node.name] = quantizer.unrounded(weight).cpu().numpy()
            scales[node.name] = quantizer.scale_of(weight).cpu().numpy().astype(np.float64)
        nodes.append(replace(node, params=params))
    unfolded = Network(nodes=tuple(nodes))
    folded = fold_batch_norm(unfolded)
    weights = {}
    for name, scale in scales.items():
        factor = _factor(unfolded, folded, name, signed=True)
        latents[name] = (latents[name] * factor.reshape(-1, *[1] * (latents[name].ndim - 1))).astype(np.float32)
        step = np.maximum(np.abs(scale * factor), 2.0**-24).astype(np.float32)
        odd = _quantizer(module.weight_quantizers, name).odd
        spec = replace(start.weights[name].spec, odd=True, narrow=False) if odd else start.weights[name].spec
        weights[name] = replace(start.weights[name], spec=spec, scale=step)
    narrow = {name: grid for name, grid in start.activations.items() if child_name(name) in module.activation_quantizers}
    learnt = {name: _learnt_grid(_quantizer(module.activation_quantizers, name), grid) for name, grid in narrow.items()}
    return Trained(network=folded, weights=weights, activations=learnt, latents=latents)


def _learnt_grid(quantizer: FakeQuantizer, grid: QParams) -> QParams:
    """The one grid of an activation quantizer, of the same width as `grid`."""
    scale = quantizer.scale_of(torch.zeros(())).detach().cpu().numpy()
    zero = np.asarray(grid.spec.qmin + int(quantizer.zero), np.int32)
    return replace(grid, scale=np.asarray(scale, np.float32).reshape(()), zero_point=zero)


def _activation_quantizer(method: str, grid: QParams) -> FakeQuantizer:
    """The method's quantizer of an activation, started from `grid`; where nothing lies above zero, one that can move its offset."""
    low, high = (int(end - grid.zero_point) for end in (grid.spec.qmin, grid.spec.qmax))
    kind = METHODS[method].activation if high > 0 else "lsq+"
    return ACTIVATION_QUANTIZERS[kind](torch.tensor(float(grid.scale)), low, high)


def _quantizer(quantizers: nn.ModuleDict, name: str) -> FakeQuantizer:
    found = quantizers[child_name(name)]
    assert isinstance(found, FakeQuantizer)
    return found


def _factor(unfolded: Network, folded: Network, name: str, *, signed: bool = False) -> NDArray[np.float64]:
    """[channels] what folding multiplied a layer's weight by."""
    norm = next((node for node in unfolded if node.op == "batch_norm" and node.inputs == (name,)), None)
    channels = len(folded[name].params["weight"])
    if norm is None:
        return np.ones(channels)
    p = {role: array.astype(np.float64) for role, array in norm.params.items()}
    factor = p["gamma"] / np.sqrt(p["variance"] + norm.attributes["epsilon"])
    return np.asarray(factor if signed else np.maximum(np.abs(factor), 1e-12), np.float64)


def _params(node: Node) -> nn.Module:
    if node.op != "batch_norm":
        return nn.ParameterDict({role: nn.Parameter(torch.from_numpy(np.array(array))) for role, array in node.params.items()})
    norm = nn.BatchNorm2d(len(node.params["gamma"]), eps=node.attributes["epsilon"])
    with torch.no_grad():
        for own, role in ((norm.weight, "gamma"), (norm.bias, "beta"), (norm.running_mean, "mean"), (norm.running_var, "variance")):
            assert own is not None
            own.copy_(torch.from_numpy(np.array(node.params[role])))
    return norm


def _norm_params(norm: nn.BatchNorm2d) -> dict[str, NDArray[np.float32]]:
    assert norm.running_mean is not None and norm.running_var is not None
    values = {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "variance": norm.running_var}
    return {role: value.detach().cpu().numpy().copy() for role, value in values.items()}
