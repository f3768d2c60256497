"""Block-wise reconstruction: where blocks are cut, what a block computes, and what learning it gains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clinquant.core.affine import dequantize, quantize
from clinquant.core.graph import Network
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes import AdaRound, Calibrate, FoldBatchNorm, PutOnGrids, ReconstructBlocks
from clinquant.lab.quantize.passes.block import Block, Cached, blocks, tied
from clinquant.lab.quantize.passes.reconstruct import Twins
from clinquant.lab.quantize.recipes import begin, run_recipes
from clinquant.lab.quantize.rounding import Schedule
from clinquant.lab.quantize.widths import inner_layers
from test_exactness import classifier, images
from test_post_training import error, tensors

QUICK = Schedule(iterations=50, rate=0.1)


def ready(name: str, bits: str = "w4a4", count: int = 16) -> tuple[Model, Calibration]:
    source = classifier(name)
    seen = Calibration(pixels=images(source.card.preprocess.size, count, 1), preprocess=source.card.preprocess)
    return run_recipes(begin(source, bits), seen, {"ready": (FoldBatchNorm(), Calibrate(), PutOnGrids())})["ready"], seen


def folded(name: str) -> Network:
    return ready(name, count=2)[0].network


def test_blocks_are_residual_blocks_and_single_layers() -> None:
    found = [[node.name for node in block] for block in blocks(folded("resnet20"))]
    assert found[0] == ["input"] and found[1] == ["conv1", "relu"]
    assert (
        found[2] == [f"layer1.0.{part}" for part in ("conv1", "relu1", "conv2")] + ["add", "layer1.0.relu2"] or "layer1.0.relu2" in found[2]
    )
    assert sum("layer" in block[0] for block in found) == 9 and found[-1][-1] == "fc"
    for name in ("resnet20", "branches", "plain", "mobilenet_v2", "every_function"):
        network = folded(name)
        cut = blocks(network)
        assert [node.name for block in cut for node in block] == [node.name for node in network]
        for block in cut[1:]:
            own = {node.name for node in block}
            assert len({source for node in block for source in node.inputs} - own) == 1, name


def prepared(model: Model, calibration: Calibration, index: int) -> tuple[Block, Cached]:
    """Block `index` of a model, with everything before it computed."""
    assert model.floats is not None
    twins, cut = Twins(model, model.floats, next(calibration.batches(99))), blocks(model.floats)
    for block in cut[:index]:
        for node in block:
            twins.advance(node)
    return Block(cut[index], model, twins.on_grids, tied(model.floats), torch.Generator()), Cached.of(cut[index], twins)


def test_a_block_rounded_to_nearest_is_the_quantized_network() -> None:
    model, calibration = ready("resnet20")
    values = tensors(model, next(calibration.batches(99)))
    block, cached = prepared(model, calibration, 3)
    with torch.no_grad():
        out = block(cached.quantized)
    last = block.nodes[-1]
    assert torch.allclose(block.on_grids.write(out, last), values[last.name], atol=1e-4)
    assert len(block.steps) == 2 and not set(block.steps) & {name.replace(".", "/") for name in tied(model.network)}


def test_a_soft_block_computes_the_papers_weights() -> None:
    model, calibration = ready("plain", "w4a8")
    index = next(i for i, block in enumerate(blocks(model.network)) if block[0].op == "conv" and block[0].inputs != ("input",))
    block, cached = prepared(model, calibration, index)
    block.weights = "soft"
    (v,), layer = block.rounding.values(), block.nodes[0]
    with torch.no_grad():
        v.copy_(torch.randn(v.shape, generator=torch.Generator().manual_seed(0)) * 2)
        out = block(cached.quantized)
    weight, grid = layer.params["weight"].astype(np.float64), model.weights[layer.name]
    scale = grid.scale.astype(np.float64).reshape(-1, 1, 1, 1)
    h = np.clip(1.2 / (1 + np.exp(-v.detach().numpy().astype(np.float64))) - 0.1, 0, 1)
    soft = scale * (np.clip(np.floor(weight / scale), grid.spec.qmin, grid.spec.qmax - 1) + h)
    oracle = torch.nn.functional.conv2d(cached.quantized.double(), torch.from_numpy(soft), torch.from_numpy(layer.params["bias"]).double())
    low, high = (block.nodes[-1].attributes[end] for end in ("low", "high"))
    assert np.allclose(out.numpy(), np.clip(oracle.numpy(), low, high), atol=1e-5)
    expected = float((1 - np.abs(2 * h - 1) ** 3).sum())
    block.units = dict.fromkeys(block.units, torch.ones(()))
    assert float(block.undecided(3.0).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name,drop", [("branches", 0.0), ("branches", 0.5), ("plain", 0.0), ("plain", 0.5), ("resnet20", 0.5)])
def test_blocks_learn_and_end_on_their_grids(name: str, drop: float) -> None:
    model, calibration = ready(name)
    seen: dict[str, tuple[float, float]] = {}

    def watch(block: str, before: float, after: float) -> None:
        seen[block] = before, after

    learnt = ReconstructBlocks(schedule=QUICK, drop=drop, watch=watch)(model, calibration)
    assert seen and all(after <= before for before, after in seen.values())
    assert sum(after for _, after in seen.values()) < 0.95 * sum(before for before, _ in seen.values())
    for layer in inner_layers(model.network):
        grid, weight = learnt.weights[layer], learnt.network[layer].params["weight"]
        assert np.array_equal(weight, dequantize(quantize(weight, grid), grid))
    for grid_name, grid in model.activations.items():
        if grid.spec.bits == 8 or grid_name in tied(model.network):
            assert learnt.activations[grid_name].scale == grid.scale
    assert any(learnt.activations[n].scale != grid.scale for n, grid in model.activations.items()) or name == "plain"
    assert error(learnt, calibration) < error(model, calibration)


def test_all_values_dropped_is_the_float_block() -> None:
    model, calibration = ready("resnet20")
    block, cached = prepared(model, calibration, 3)
    with torch.no_grad():
        for node in block.nodes:
            block.fixed_params[node.name] = {k: torch.from_numpy(np.array(a)) for k, a in node.params.items()}
        out = block(cached.floats, drop=1.0)
    assert float((out - cached.target).std()) < 0.03 * float(cached.target.std())


def test_the_same_seed_gives_the_same_weights() -> None:
    model, calibration = ready("plain")
    once, again = (ReconstructBlocks(schedule=QUICK, drop=0.5)(model, calibration) for _ in range(2))
    other = AdaRound(schedule=QUICK)(model, calibration)
    for layer in inner_layers(model.network):
        assert np.array_equal(once.network[layer].params["weight"], again.network[layer].params["weight"])
    assert any(not np.array_equal(once.network[n].params["weight"], other.network[n].params["weight"]) for n in inner_layers(model.network))
