"""The exported integer file equals the numpy reference on every code of every tensor; the float file equals torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from clinquant.core.affine import QParams, TensorSpec
from clinquant.core.card import Card
from clinquant.core.integer import Clip, Conv, Image, IntegerProgram, Linear, MaxPool, Table
from clinquant.core.preprocess import Preprocess
from clinquant.core.reference import RULES, execute
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.export.qdq import export_qdq
from clinquant.lab.quantize.execute import Executor, normalised
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.stem import blocked_stem
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import WIDTHS
from networks import Branches, EveryFunction, Plain, SmallHardSwish, SmallSiLU

IMAGENET = Preprocess(size=32, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
SMALL = Preprocess(size=28)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Preprocess]] = {
    "branches": (Branches, IMAGENET),
    "plain": (Plain, SMALL),
    "every_function": (EveryFunction, IMAGENET),
    "small_silu": (SmallSiLU, SMALL),
    "small_hard_swish": (SmallHardSwish, SMALL),
    **{
        name: (
            lambda architecture=architecture: architecture.build(3),
            IMAGENET if "resnet50" in name else Preprocess(size=64 if architecture.size > 64 else 28),
        )
        for name, architecture in ARCHITECTURES.items()
    },
}

SMALL_NAMES = ["every_function", "small_silu", "small_hard_swish"]
"""Small networks with what the zoo does not have."""


def classifier(name: str) -> Classifier:
    """A network with random weights whose batch norms have lived-in statistics, as after training."""
    build, preprocess = NETWORKS[name]
    torch.manual_seed(0)
    module = build()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
    module.train()
    with torch.no_grad():
        for seed in range(3):
            module(normalised(images(preprocess.size, 8, seed), preprocess))
    classes = module(normalised(images(preprocess.size, 2, 9), preprocess)).shape[1]
    card = Card(architecture=name, classes=tuple("abcdefgh"[:classes]), positive=1 if classes == 2 else None, preprocess=preprocess)
    return Classifier(module=module.eval(), card=card)


def images(size: int, count: int, seed: int) -> np.ndarray:
    """Smooth colourful noise, uint8 [count, size, size, 3]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 6, 6)))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").permute(0, 2, 3, 1).numpy()
    return np.clip(fine + rng.normal(0, 12, fine.shape), 0, 255).astype(np.uint8)


def every_tensor(path: Path, program: IntegerProgram, pixels: np.ndarray, *, optimised: bool) -> dict[str, np.ndarray]:
    """The file's intermediate codes, each declared an output."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    names = [operator.name for operator in program.operators[:-1]]
    for name in names:
        if name not in known:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(None, {"image": pixels}), strict=True))


@pytest.fixture(scope="module")
def quantized() -> Callable[[str], tuple[Classifier, QuantizedNetwork]]:
    """Each network quantized once."""
    made: dict[str, tuple[Classifier, QuantizedNetwork]] = {}

    def make(name: str) -> tuple[Classifier, QuantizedNetwork]:
        if name not in made:
            source = classifier(name)
            made[name] = (source, quantize(source, images(source.card.preprocess.size, 16, 1), recipes=("mse",))["mse"])
        return made[name]

    return make


@pytest.mark.parametrize("name", NETWORKS)
def test_every_code_equals_the_reference(
    name: str, quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path
) -> None:
    _, network = quantized(name)
    program = lower(network, temperature=1.7)
    path = export_integer(program, tmp_path / "integer.onnx")
    pixels = images(program.size, 3, 2)
    expected = execute(program, pixels) | {"pixels": pixels}
    plain = load(path).run(pixels)
    assert np.array_equal(plain.logits, expected["logits"])
    assert (plain.class_map is None) == ("class_map" not in expected)
    for optimised in (False, True):
        for tensor, codes in every_tensor(path, program, pixels, optimised=optimised).items():
            assert np.array_equal(codes, expected[tensor]), (tensor, optimised)
    alive = [tensor for tensor in program.tensors if tensor in expected and len(np.unique(expected[tensor])) > 4]
    assert len(alive) > 0.9 * len(program.tensors), "dead codes would make this test easy"


@pytest.mark.parametrize("name", NETWORKS)
def test_float_file_equals_torch_and_integer_follows(
    name: str, quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path
) -> None:
    source, network = quantized(name)
    preprocess = source.card.preprocess
    folded = fold_batch_norm(trace(source.module))
    pixels = images(preprocess.size, 24, 3)
    with torch.no_grad():
        expected = source.module(normalised(pixels, preprocess)).numpy()
    assert np.allclose(Executor(folded)(normalised(pixels, preprocess)).numpy(), expected, atol=2e-3 * np.abs(expected).max())
    answered = load(export_float(folded, preprocess, tmp_path / "float.onnx", temperature=2.0)).run(pixels).logits
    assert np.allclose(answered, expected / 2, atol=2e-3 * np.abs(expected).max())
    integer = load(export_integer(lower(network), tmp_path / "integer.onnx")).run(pixels)
    noise = integer.logits - expected
    assert noise.std() < 0.15 * expected.std(), (noise.std(), expected.std())


def test_gates_need_no_look_up(quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]]) -> None:
    """Their maps are written in operators that run as fast as a copy; hard sigmoids of what hardly goes below zero may be looked up."""
    for name, op, kind in (("small_silu", "sigmoid", Table), ("small_hard_swish", "hard_sigmoid", Clip)):
        _, network = quantized(name)
        gates = {node.name for node in network.network if node.op == op and network.shapes[node.name][1:] > (1, 1)}
        fast = {o.name for o in lower(network).operators if isinstance(o, kind) and getattr(o, "function", "sigmoid") == "sigmoid"}
        assert len(gates) >= 4 and len(gates & fast) >= len(gates) - 1, gates - fast


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("plain", *SMALL_NAMES)])
def test_class_map_averages_to_the_logits(
    name: str, quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path
) -> None:
    _, network = quantized(name)
    program = lower(network)
    answered = load(export_integer(program, tmp_path / "integer.onnx")).run(images(program.size, 8, 4))
    assert answered.class_map is not None and program.class_map is not None
    bias = network.network.output.params["bias"]
    step = float(program.tensors[program.class_map.name].scale)
    means = answered.class_map.mean(axis=(2, 3)) + bias
    pooled = program.tensors[network.network.nodes[-3].name]
    slack = 0.5 * float(pooled.scale) * np.abs(network.network.output.params["weight"]).sum(axis=1).max() * 0.25
    assert np.abs(means - answered.logits).max() < step + slack


@pytest.mark.parametrize("bits", [bits for bits in WIDTHS if bits != "w8a8"])
@pytest.mark.parametrize("name", ["branches", "plain", *SMALL_NAMES, "resnet20", "mobilenet_v2"])
def test_every_width_is_exact_stays_in_its_width_and_is_packed(name: str, bits: str, tmp_path: Path) -> None:
    source = classifier(name)
    quantized = quantize(source, images(source.card.preprocess.size, 16, 1), bits=bits, recipes=("mse",))["mse"]
    program = lower(quantized)
    path = export_integer(program, tmp_path / "integer.onnx")
    pixels = images(program.size, 2, 2)
    expected = execute(program, pixels) | {"pixels": pixels}
    for optimised in (False, True):
        for tensor, codes in every_tensor(path, program, pixels, optimised=optimised).items():
            assert np.array_equal(codes, expected[tensor]), (tensor, optimised)
    bounded = {operator.name for operator in program.operators if isinstance(operator, Clip | Table)}
    for operator in program.operators:
        if isinstance(operator, Conv) and operator.weight_bits in (2, 4):
            grid = program.tensors[operator.inputs[0]]
            assert expected[operator.inputs[0]].max() <= grid.spec.qmax
            assert grid.spec.bits == 8 or any(name in bounded for name in ancestors(program, operator.inputs[0]))
            assert np.abs(operator.weight).max() <= 2 ** (operator.weight_bits - 1) - 1
    stored = {i.name: len(i.raw_data) for i in onnx.load(path).graph.initializer if i.name.endswith(".packed")}
    inner = {o.name: o for o in program.operators if isinstance(o, Conv) and o.weight_bits in (2, 4)}
    assert set(stored) == {f"{name}.weight.packed" for name in inner} and stored
    for name, operator in inner.items():
        assert stored[f"{name}.weight.packed"] == -(-operator.weight.size * operator.weight_bits // 8)


def ancestors(program: IntegerProgram, tensor: str) -> list[str]:
    """`tensor` and what it comes from through operators that keep codes as they are."""
    made = {operator.name: operator for operator in program.operators}
    found = [tensor]
    while isinstance(made[found[-1]], MaxPool):
        found.append(made[found[-1]].inputs[0])
    return found


@pytest.mark.parametrize("name", ["branches", "plain", *SMALL_NAMES, "resnet20", "efficientnet_lite0"])
def test_qdq_holds_the_same_codes(name: str, quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path) -> None:
    """Between Q and DQ the arithmetic is float, so the logits are near the integer file's and no more."""
    _, network = quantized(name)
    pixels = images(network.card.preprocess.size, 16, 5)
    exact = load(export_integer(lower(network, temperature=1.3), tmp_path / "integer.onnx")).run(pixels).logits
    path = export_qdq(network, tmp_path / "qdq.onnx", temperature=1.3)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (near,) = session.run(["logits"], {"image": pixels})
    assert np.abs(near - exact).max() < 0.1 * exact.std() + 0.05 * np.abs(exact).max()
    ours, theirs = onnx.load(tmp_path / "integer.onnx"), onnx.load(path)
    weights = [{i.name: onnx.numpy_helper.to_array(i) for i in m.graph.initializer if i.name.endswith(".weight")} for m in (ours, theirs)]
    same = [key for key in weights[1] if weights[0][key].shape == weights[1][key].shape]
    assert same and all(np.array_equal(weights[0][key], weights[1][key]) for key in same)


def test_a_batch_answers_as_its_images_alone(quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path) -> None:
    _, network = quantized("resnet20")
    session = load(export_integer(lower(network), tmp_path / "integer.onnx"))
    pixels = images(41, 6, 6)
    together = session.run(pixels)
    alone = [session.run(pixels[index : index + 1]) for index in range(6)]
    assert np.array_equal(together.logits, np.concatenate([answer.logits for answer in alone]))
    maps = [answer.class_map for answer in alone]
    assert together.class_map is not None and np.array_equal(together.class_map, np.concatenate(maps))  # type: ignore[arg-type]


def test_saved_and_loaded_gives_the_same_bytes(quantized: Callable[[str], tuple[Classifier, QuantizedNetwork]], tmp_path: Path) -> None:
    _, network = quantized("branches")
    network.save(tmp_path)
    first = export_integer(lower(network), tmp_path / "a.onnx").read_bytes()
    second = export_integer(lower(QuantizedNetwork.load(tmp_path)), tmp_path / "b.onnx").read_bytes()
    assert first == second


@pytest.mark.parametrize("size", [28, 30, 32])
@pytest.mark.parametrize(
    "kernel,pads", [(7, (3, 3, 3, 3)), (3, (1, 1, 1, 1)), (3, (0, 0, 1, 1)), (5, (2, 1, 2, 3)), (2, (0, 0, 0, 0)), (4, (1, 2, 1, 0))]
)
def test_the_stem_on_blocks_gives_the_same_codes(size: int, kernel: int, pads: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(kernel)
    grid = QParams(spec=TensorSpec(), scale=np.float32(1 / 128).reshape(()), zero_point=np.array(127, np.int32))
    out = QParams(spec=TensorSpec(), scale=np.float32(0.2).reshape(()), zero_point=np.array(90, np.int32))
    conv = Conv(
        name="stem",
        inputs=("input",),
        weight=rng.integers(-63, 64, (5, 3, kernel, kernel)).astype(np.int8),
        weight_scale=rng.uniform(0.01, 0.02, 5).astype(np.float32),
        bias=rng.integers(-99, 99, 5).astype(np.int32),
        stride=(2, 2),
        pads=pads,
        dilation=(1, 1),
        groups=1,
    )
    linear = Linear(
        name="head", inputs=("stem",), weight=np.ones((2, 5), np.int8), weight_scale=np.ones(2, np.float32), bias=np.zeros(2, np.int32)
    )
    image = Image(name="input", inputs=("image",), table=rng.integers(0, 256, (3, 256)).astype(np.uint8))
    program = IntegerProgram(operators=(image, conv, linear), tensors={"input": grid, "stem": out}, size=size, class_map=None)
    blocked = blocked_stem(program)
    assert blocked.operators[1].weight.shape[1] == 12
    pixels = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    plain, other = ({"image": pixels.transpose(0, 3, 1, 2)} for _ in range(2))
    for which, values in ((program, plain), (blocked, other)):
        for operator in which.operators[:2]:
            grids = [which.tensors[name] for name in operator.inputs if name in which.tensors]
            values[operator.name] = RULES[type(operator)](
                operator, [values[n] for n in operator.inputs], grids, which.tensors[operator.name]
            )
    assert np.array_equal(plain["stem"], other["stem"])
