"""Post-training passes: each against an independent numpy oracle, and on small networks with every operator."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clinquant.core.affine import dequantize, quantize
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import execute
from clinquant.lab.quantize.execute import RULES, Executor
from clinquant.lab.quantize.fake_quant.affine import inverse_rectified_sigmoid, rectified_sigmoid
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model, Pass
from clinquant.lab.quantize.moments import Moments, activation_moments, clipped
from clinquant.lab.quantize.on_grids import OnGrids
from clinquant.lab.quantize.passes import GPTQ, AdaRound, Calibrate, CorrectBias, Equalize, FoldBatchNorm, PutOnGrids
from clinquant.lab.quantize.passes.correct_bias import by_batch_norm, expected
from clinquant.lab.quantize.passes.equalize import absorbed, channel_ranges, equalized, input_ranges, pairs, without_bounds
from clinquant.lab.quantize.passes.reconstruct import Twins, bytes_an_image, images_within, positions
from clinquant.lab.quantize.recipes import begin, run_recipes
from clinquant.lab.quantize.rounding import Problem, Rounded, Schedule, _Learner, learn_rounding
from clinquant.lab.quantize.widths import inner_layers
from test_exactness import classifier, images

QUICK = Schedule(iterations=80, rate=0.1)
READY: tuple[Pass, ...] = (FoldBatchNorm(), Calibrate(), PutOnGrids())
NAMES = ("branches", "plain", "resnet20", "mobilenet_v2")


@pytest.fixture(scope="module")
def ready() -> Callable[..., tuple[Model, Calibration]]:
    """Networks with grids, made once."""
    made: dict[tuple[str, str], tuple[Model, Calibration]] = {}

    def make(name: str, bits: str = "w4a8") -> tuple[Model, Calibration]:
        if (name, bits) not in made:
            source = classifier(name)
            seen = Calibration(pixels=images(source.card.preprocess.size, 24, 1), preprocess=source.card.preprocess)
            made[name, bits] = run_recipes(begin(source, bits), seen, {"ready": READY})["ready"], seen
        return made[name, bits]

    return make


def tensors(model: Model, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every tensor of the quantized network."""
    run, values = OnGrids(model.network, model.activations, model.weights, model.widths), {}
    with torch.no_grad():
        for node in model.network:
            values[node.name] = run.compute(node, [values[name] for name in node.inputs] or [x], run.params(node))
    return values


def error(model: Model, calibration: Calibration) -> float:
    """Mean squared change of the logits."""
    x = next(calibration.batches(99))
    floats = Executor(model.floats)(x)  # type: ignore[arg-type]
    return float((tensors(model, x)[model.network.output.name] - floats).square().mean())


def feature_error(model: Model, calibration: Calibration) -> float:
    """Mean squared change of what the last layer reads: many values, where three logits of a random network move by chance."""
    x, seen = next(calibration.batches(99)), dict[str, torch.Tensor]()
    Executor(model.floats)(x, lambda name, value: seen.__setitem__(name, value))  # type: ignore[arg-type]
    name = model.network.output.inputs[0]
    return float((tensors(model, x)[name] - seen[name]).square().mean())


def problem(groups: int = 1, seed: int = 0) -> Problem:
    """A small layer whose inputs are correlated, so that rounding to nearest is not the best."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(8, 8, generator=generator) + 2
    columns = (torch.randn(groups, 300, 8, generator=generator) @ mixing).relu()
    weight, bias = torch.randn(groups, 3, 8, generator=generator), torch.randn(groups, 1, 3, generator=generator)
    target = torch.relu(torch.baddbmm(bias, columns, weight.transpose(1, 2)))
    scale = weight.abs().amax(2, keepdim=True) / 3
    return Problem(columns=columns, target=target, weight=weight, bias=bias, scale=scale, low=-3, high=3, activation=torch.relu)


def test_the_rectified_sigmoid_and_its_inverse() -> None:
    v = np.linspace(-6, 6, 101)
    oracle = np.clip(1.2 / (1 + np.exp(-v)) - 0.1, 0, 1)
    assert np.allclose(rectified_sigmoid(torch.from_numpy(v)).numpy(), oracle)
    h = torch.linspace(0, 1, 11)
    assert torch.allclose(rectified_sigmoid(inverse_rectified_sigmoid(h)), h, atol=1e-6)


def loss_oracle(p: Problem, v: np.ndarray, where: slice, beta: float | None, regularisation: float) -> float:
    """Equation 25 and 24 of the paper in float64."""
    columns, target, weight, scale, bias = (
        t.double().numpy() for t in (p.columns[:, where], p.target[:, where], p.weight, p.scale, p.bias)
    )
    h = np.clip(1.2 / (1 + np.exp(-v)) - 0.1, 0, 1)
    soft = scale * (np.clip(np.floor(weight / scale), p.low, p.high - 1) + h)
    output = np.maximum(np.einsum("gpk,gok->gpo", columns, soft) + bias, 0)
    loss = ((output - target) ** 2).sum() / columns.shape[1]
    unit = scale**2 * (p.columns.double().numpy() ** 2).mean(axis=(1, 2), keepdims=True)
    return float(loss + (0 if beta is None else (regularisation * unit * (1 - np.abs(2 * h - 1) ** beta)).sum()))


@pytest.mark.parametrize("beta", [None, 20.0, 3.5])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_gradient_of_rounding_equals_numpys_difference(beta: float | None, groups: int) -> None:
    p, where = problem(groups), slice(20, 84)
    with torch.no_grad():
        learner = _Learner(p, Schedule(regularisation=0.3))
        learner.v.copy_(torch.randn(learner.v.shape, generator=torch.Generator().manual_seed(1)) * 2)
        learner.differentiate(where, beta)
    v = learner.v.detach().double().numpy()
    numeric = np.zeros_like(v)
    for index in np.ndindex(*v.shape):
        step = np.zeros_like(v)
        step[index] = 1e-5
        ends = (loss_oracle(p, v + sign * step, where, beta, 0.3) for sign in (1, -1))
        numeric[index] = (next(ends) - next(ends)) / 2e-5
    assert np.allclose(learner.v.grad.numpy(), numeric, rtol=2e-3, atol=2e-3 * np.abs(numeric).max())  # type: ignore[union-attr]


def test_learnt_rounding_is_near_the_best_of_all_roundings() -> None:
    best = learnt = nearest = 0.0
    for seed in range(6):
        p = problem(seed=seed)
        found = learn_rounding(p, Schedule(iterations=400, rate=0.05, positions=300), torch.Generator().manual_seed(0))
        base = np.clip(np.floor((p.weight / p.scale).numpy()[0]), p.low, p.high - 1)
        for channel in range(3):
            choices = np.array(list(itertools.product((0, 1), repeat=8))) + base[channel]
            outputs = np.maximum(p.columns[0].numpy() @ (choices * p.scale[0, channel].numpy()).T + float(p.bias[0, 0, channel]), 0)
            best += ((outputs - p.target[0, :, channel].numpy()[:, None]) ** 2).mean(0).min()
        learnt, nearest = learnt + found.loss, nearest + found.nearest
    assert best <= learnt * (1 + 1e-5) and learnt < best + 0.4 * (nearest - best)


def test_learnt_rounding_never_loses_to_nearest_and_moves_a_code_by_one_at_most() -> None:
    for iterations in (1, 30):
        p = problem(seed=3)
        found = learn_rounding(p, Schedule(iterations=iterations, rate=1.0), torch.Generator().manual_seed(0))
        assert found.loss <= found.nearest
        floor = torch.floor(p.weight / p.scale)
        assert found.codes.min() >= p.low and found.codes.max() <= p.high
        assert ((found.codes - floor >= 0) & (found.codes - floor <= 1))[floor < p.high].all()


def test_rounding_stops_when_nothing_moves() -> None:
    found = learn_rounding(problem(), Schedule(iterations=2000, rate=0.05), torch.Generator().manual_seed(0))
    assert found.iterations < 2000


@pytest.mark.parametrize(
    "groups,kernel,stride,pads,dilation", [(1, 3, 1, (1, 1, 1, 1), 1), (6, 3, 2, (0, 0, 1, 1), 1), (2, 2, 1, (2, 1, 2, 3), 2)]
)
def test_sampled_positions_are_what_the_convolution_reads(
    groups: int, kernel: int, stride: int, pads: tuple[int, int, int, int], dilation: int
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(12, 6 // groups, kernel, kernel)).astype(np.float32)
    attributes = {"stride": (stride, stride), "pads": pads, "dilation": (dilation, dilation), "groups": groups}
    node = Node(name="c", op="conv", inputs=("x",), params={"weight": weight}, attributes=attributes)
    x = torch.from_numpy(rng.normal(size=(3, 6, 9, 8)).astype(np.float32))
    target = RULES["conv"](node, [x], {"weight": torch.from_numpy(weight)})
    columns, wanted = positions(node, x, target, 10_000, torch.Generator().manual_seed(0))
    assert columns.shape[1] == target[:, 0].numel()
    computed = torch.bmm(columns, torch.from_numpy(weight).reshape(groups, 12 // groups, -1).transpose(1, 2))
    assert torch.allclose(computed, wanted, atol=1e-4)
    assert positions(node, x, target, 7, torch.Generator())[0].shape[1] == 7


@pytest.mark.parametrize("bits", ["w8a8", "w4a4"])
@pytest.mark.parametrize("name", NAMES)
def test_floats_on_grids_are_nearly_the_integer_program(name: str, bits: str, ready: Callable[..., tuple[Model, Calibration]]) -> None:
    model, calibration = ready(name, bits)
    program = lower(model.quantized("test"))
    exact = execute(program, calibration.pixels[:4])
    values = tensors(model, next(calibration.batches(4)))
    points = {grid: name for name, grid in OnGrids(model.network, {}, {}, model.widths).points.items()}
    first = next(node for node in model.network if node.op == "conv")
    codes = quantize(values[points[first.name]].numpy(), model.activations[first.name])
    reference = exact.get(points[first.name], exact[first.name])
    assert (codes == reference).mean() > 0.999
    logits = values[model.network.output.name].numpy()
    assert (logits - exact["logits"]).std() < 0.2 * exact["logits"].std()


@pytest.mark.parametrize("name", NAMES[:3])
def test_adaround_leaves_weights_on_their_grids_and_serves_every_layer(name: str, ready: Callable[..., tuple[Model, Calibration]]) -> None:
    model, calibration = ready(name)
    seen: dict[str, Rounded] = {}

    def watch(layer: str, problem: Problem, found: Rounded) -> None:
        seen[layer] = found

    rounded = AdaRound(schedule=QUICK, images=16, watch=watch)(model, calibration)
    assert set(seen) == inner_layers(model.network)
    for layer, found in seen.items():
        grid, weight = model.weights[layer], rounded.network[layer].params["weight"]
        assert np.array_equal(weight, dequantize(quantize(weight, grid), grid))
        original = model.network[layer].params["weight"]
        inside = np.abs(original) <= grid.spec.qmax * grid.shaped(original.ndim)[0]
        assert (np.abs(weight - original) <= grid.shaped(original.ndim)[0] * 1.0001)[inside].all()
        assert found.loss <= found.nearest
    assert sum(found.loss for found in seen.values()) < 0.9 * sum(found.nearest for found in seen.values())
    untouched = [node.name for node in model.network if node.params and node.name not in seen]
    assert all(np.array_equal(rounded.network[n].params["weight"], model.network[n].params["weight"]) for n in untouched)
    assert feature_error(rounded, calibration) < 0.9 * feature_error(model, calibration)
    same = AdaRound(schedule=QUICK, images=16)(model, calibration)
    assert all(np.array_equal(same.network[n].params["weight"], rounded.network[n].params["weight"]) for n in seen)


def test_twins_hold_no_more_than_they_say(ready: Callable[..., tuple[Model, Calibration]]) -> None:
    for name in NAMES:
        model, calibration = ready(name)
        limit = bytes_an_image(model.network, calibration.preprocess.size)
        assert len(images_within(model, calibration, 512, 5 * limit + 1)) == 5
        assert len(images_within(model, calibration, 512, 0)) == 1
        twins = Twins(model, model.network, next(calibration.batches(3)))
        for node in model.network:
            twins.advance(node)
            held = sum(4 * tensor.numel() for values in (twins.floats, twins.quantized) for tensor in values.values())
            assert held <= 3 * limit
        assert set(twins.floats) == {model.network.output.name}


@pytest.mark.parametrize("name", NAMES)
def test_corrected_bias_leaves_no_mean_error(name: str, ready: Callable[..., tuple[Model, Calibration]]) -> None:
    model, calibration = ready(name, "w4a4")
    corrected = CorrectBias()(model, calibration)
    x = next(calibration.batches(99))
    floats: dict[str, torch.Tensor] = {}
    Executor(model.floats)(x, floats.__setitem__)  # type: ignore[arg-type]

    def largest(tried: Model) -> float:
        run, values = OnGrids(tried.network, tried.activations, tried.weights, tried.widths), tensors(tried, x)
        worst = 0.0
        for node in tried.network:
            if node.name in tried.weights:
                raw = RULES[node.op](node, [run.read(values[node.inputs[0]], node.inputs[0], node)], run.params(node))
                difference = (raw - floats[node.name]).numpy()
                worst = max(worst, float(np.abs(difference.mean(axis=tuple(a for a in range(raw.ndim) if a != 1))).max()))
        return worst

    assert largest(corrected) < 1e-4 < 1e-2 < largest(model)
    assert all(np.array_equal(corrected.network[n].params["weight"], model.network[n].params["weight"]) for n in model.weights)


@pytest.mark.parametrize("low,high", [(0.0, np.inf), (0.0, 6.0), (-0.1, 0.2)])
def test_moments_of_clipped_normals_equal_samples(low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    mean, deviation = np.array([-3.0, -0.4, 0.0, 1.0, 7.0]), np.array([1.0, 0.5, 2.0, 3.0, 0.1])
    samples = np.clip(rng.normal(mean, deviation, (1_000_000, 5)), low, high)
    found = clipped(Moments(mean, deviation**2), low, high)
    assert np.allclose(found.mean, samples.mean(0), atol=8e-3)
    assert np.allclose(found.variance, samples.var(0), atol=2e-2)


def test_the_expected_output_of_a_layer_is_its_mean_output() -> None:
    rng = np.random.default_rng(0)
    change, mean = rng.normal(size=(6, 2, 3, 3)), rng.normal(size=4)
    attributes = {"groups": 2}
    x = torch.from_numpy(np.broadcast_to(mean[:, None, None], (4, 5, 5)).copy())[None]
    oracle = F.conv2d(x, torch.from_numpy(change), groups=2)[0, :, 1, 1].numpy()
    assert np.allclose(expected(Node(name="c", op="conv", attributes=attributes), change, mean), oracle)
    dense = rng.normal(size=(3, 4 * 6))
    plane = np.repeat(mean, 6)
    assert np.allclose(expected(Node(name="l", op="linear"), dense, mean), dense @ plane)


def test_batch_norm_tells_the_mean_error_without_images(ready: Callable[..., tuple[Model, Calibration]]) -> None:
    model, calibration = ready("mobilenet_v2", "w4a4")
    moments = activation_moments(model.network)
    changes = by_batch_norm(model, model.network)
    assert len(changes) > 0.8 * len(model.weights) and model.network.nodes[1].name not in changes
    values: dict[str, torch.Tensor] = {}
    Executor(model.network)(next(calibration.batches(99)), values.__setitem__)
    told, measured = (
        np.concatenate(found)
        for found in zip(
            *((moments[node.name].mean, values[node.name].mean((0, 2, 3)).numpy()) for node in model.network if node.op == "clip"),
            strict=True,
        )
    )
    assert np.corrcoef(told, measured)[0, 1] > 0.4
    corrected = CorrectBias(by="batch_norm")(model, replace(calibration, pixels=calibration.pixels[:0]))
    for name, node in changes.items():
        assert np.array_equal(corrected.network[name].params["bias"], node.params["bias"])  # type: ignore[union-attr]


@pytest.mark.parametrize("made", [AdaRound(), GPTQ(), CorrectBias(), CorrectBias(by="batch_norm")])
def test_passes_on_grids_say_what_they_need(made: Pass) -> None:
    source = classifier("resnet20")
    seen = Calibration(pixels=images(28, 2, 1), preprocess=source.card.preprocess)
    with pytest.raises(ClinquantError) as raised:
        run_recipes(begin(source, "w4a4"), seen, {"wrong": (FoldBatchNorm(), Calibrate(), made)})
    assert raised.value.code == "pass-order" and "PutOnGrids" in raised.value.fix


def pair_oracle(w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equation 11 of the paper, channel by channel."""
    w1, w2 = w1.copy(), w2.copy()
    for i in range(len(w1)):
        r1, r2 = np.abs(w1[i]).max(), np.abs(w2[:, i]).max()
        s = np.sqrt(r1 * r2) / r2
        w1[i], w2[:, i] = w1[i] / s, w2[:, i] * s
    return w1, w2


def chain(*weights: np.ndarray, groups: tuple[int, ...]) -> list[Node]:
    """Convolutions with ReLU between them."""
    nodes = [Node(name="input", op="input")]
    for index, (weight, count) in enumerate(zip(weights, groups, strict=True)):
        params = {"weight": weight.astype(np.float32), "bias": np.ones(len(weight), np.float32)}
        attributes = {"stride": (1, 1), "pads": (0, 0, 0, 0), "dilation": (1, 1), "groups": count}
        nodes.append(Node(name=f"conv{index}", op="conv", inputs=(nodes[-1].name,), params=params, attributes=attributes))
        nodes.append(Node(name=f"relu{index}", op="relu", inputs=(nodes[-1].name,)))
    return nodes


def test_equalized_weights_are_the_papers() -> None:
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(6, 3, 3, 3)) * rng.uniform(0.1, 9, (6, 1, 1, 1)), rng.normal(size=(4, 6, 1, 1))
    network = Network(nodes=tuple(chain(w1, w2, groups=(1, 1))))
    nodes = equalized({node.name: node for node in network}, pairs(network), {})
    oracle = pair_oracle(w1, w2)
    assert np.allclose(nodes["conv0"].params["weight"], oracle[0], rtol=1e-5)
    assert np.allclose(nodes["conv1"].params["weight"], oracle[1], rtol=1e-5)
    r1, r2 = (np.abs(w).reshape(6, -1).max(1) for w in (w1, w2.transpose(1, 0, 2, 3)))
    assert np.allclose(nodes["conv0"].params["bias"], 1 / np.sqrt(r1 / r2), rtol=1e-5)


def test_a_depthwise_triple_ends_at_the_cube_root_of_its_ranges() -> None:
    rng = np.random.default_rng(1)
    w = rng.normal(size=(5, 3, 1, 1)), rng.normal(size=(5, 1, 3, 3)) * 7, rng.normal(size=(4, 5, 1, 1)) / 3
    network = Network(nodes=tuple(chain(*w, groups=(1, 5, 1))))
    nodes = equalized({node.name: node for node in network}, pairs(network), {})
    product = np.abs(w[0]).reshape(5, -1).max(1) * np.abs(w[1]).reshape(5, -1).max(1) * np.abs(w[2]).max((0, 2, 3))
    for name, axes in (("conv0", (1, 2, 3)), ("conv1", (1, 2, 3)), ("conv2", (0, 2, 3))):
        assert np.allclose(np.abs(nodes[name].params["weight"]).max(axes), np.cbrt(product), rtol=1e-3)


@pytest.mark.parametrize("by", ["activations", "weights"])
@pytest.mark.parametrize("name", [*NAMES, "every_function", "small_hard_swish"])
def test_equalization_changes_no_answer_and_evens_ranges(name: str, by: str) -> None:
    source = classifier(name)
    seen = Calibration(pixels=images(source.card.preprocess.size, 24, 1), preprocess=source.card.preprocess)
    folded = FoldBatchNorm()(begin(source, "w8a8"), seen)
    x = next(seen.batches(99))
    exact = Equalize(by=by, unbound=False, absorb=False)(folded, seen)  # type: ignore[arg-type]
    before, after = Executor(folded.network)(x), Executor(exact.network)(x)
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    whole = Equalize(by=by, tolerance=1.0)(folded, seen)  # type: ignore[arg-type]
    unbound = without_bounds(folded.network, seen, 1.0)
    before, after = Executor(unbound)(x), Executor(whole.network)(x)
    assert float((before - after).std()) < 0.05 * float(before.std()) + 1e-4
    found, r = pairs(unbound), channel_ranges(whole.network, seen)
    assert len(found) == len(pairs(whole.network)) and (found or name in ("branches", "every_function"))
    if by == "activations":
        even = Equalize(absorb=False, tolerance=1.0)(folded, seen).network
        r = channel_ranges(even, seen)
        for pair in found:
            alive = (r[pair.first] > 0) & (input_ranges(even[pair.second], len(r[pair.first])) > 0)
            assert np.allclose(r[pair.first][alive], input_ranges(even[pair.second], len(alive))[alive], rtol=3e-2)


def test_bounds_stay_where_they_decide() -> None:
    first, _ = chain(10 * np.eye(3)[:, :, None, None], groups=(1,))[1:]
    tail = (
        Node(name="clip", op="clip", inputs=("conv0",), attributes={"low": 0.0, "high": 1e-3}),
        Node(name="pool", op="global_average_pool", inputs=("clip",)),
        Node(name="flatten", op="flatten", inputs=("pool",)),
        Node(name="head", op="linear", inputs=("flatten",), params={"weight": np.eye(3, dtype=np.float32)}),
    )
    network = Network(nodes=(Node(name="input", op="input"), first, *tail))
    seen = Calibration(pixels=np.random.default_rng(0).integers(150, 256, (30, 8, 8, 3), dtype=np.uint8), preprocess=Preprocess(size=8))
    assert without_bounds(network, seen, 0.1) is network
    assert without_bounds(network, seen, 1.0)["clip"].op == "relu"


def test_absorbed_bias_moves_on_and_the_answer_stays() -> None:
    rng = np.random.default_rng(2)
    nodes = chain(rng.normal(size=(6, 3, 1, 1)), rng.normal(size=(4, 3, 1, 1)), groups=(1, 2))
    mean, deviation = np.array([9.0, 5, 1, 0, -4, 30], np.float32), np.ones(6, np.float32)
    nodes[1] = replace(nodes[1], params={**nodes[1].params, "bias": mean, "output_mean": mean, "output_deviation": deviation})
    first, second = absorbed(nodes[1], nodes[3])
    assert np.allclose(first.params["bias"], [3, 3, 1, 0, -4, 3])
    x = torch.from_numpy(rng.uniform(-0.5, 0.5, (8, 3, 4, 4)).astype(np.float32))
    before, after = (Executor(Network(nodes=(nodes[0], a, nodes[2], b)))(x) for a, b in ((nodes[1], nodes[3]), (first, second)))
    assert torch.allclose(before, after, atol=1e-4)
    padded = replace(nodes[3], attributes={**nodes[3].attributes, "pads": (1, 1, 1, 1)})
    assert absorbed(nodes[1], padded) == (nodes[1], padded)


def test_equalization_comes_before_calibration() -> None:
    source = classifier("plain")
    seen = Calibration(pixels=images(28, 4, 1), preprocess=source.card.preprocess)
    for passes, fix in (((Equalize(),), "FoldBatchNorm"), ((FoldBatchNorm(), Calibrate(), Equalize()), "before Calibrate")):
        if passes == (Equalize(),):
            source = classifier("resnet20")
        with pytest.raises(ClinquantError) as raised:
            run_recipes(begin(source, "w8a8"), seen, {"wrong": passes})  # type: ignore[dict-item]
        assert raised.value.code == "pass-order" and fix in raised.value.fix
