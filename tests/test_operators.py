"""Every operator of the portable form, in ONNX Runtime, against the numpy reference over its whole domain of codes."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from clinquant.core.affine import QParams, TensorSpec, dequantize, qparams_from_range, table_of
from clinquant.core.elementwise import ELEMENTWISE
from clinquant.core.graph import Node
from clinquant.core.integer import (
    Add,
    Clip,
    Concat,
    Constant,
    Conv,
    Dense,
    GlobalAveragePool,
    IntegerProgram,
    LayerNorm,
    Linear,
    MatMul,
    MaxPool,
    Mul,
    Operator,
    Reshape,
    Select,
    Slice,
    Softmax,
    Table,
    Transpose,
)
from clinquant.core.reference import RULES
from clinquant.edge.resize import IR_VERSION, OPSET
from clinquant.lab.export.builder import MICROSOFT, GraphBuilder
from clinquant.lab.export.integer import WRITERS
from clinquant.lab.export.writer import Writer
from clinquant.lab.quantize.execute import RULES as TORCH_RULES
from clinquant.lab.quantize.gates import hard_sigmoid_bounds, is_safe_sigmoid, settled_hard_sigmoid, settled_sigmoid
from clinquant.lab.quantize.products import settled_ratio, settled_scale
from clinquant.lab.quantize.ties import LARGEST_MULTIPLE

ALL = np.arange(256, dtype=np.uint8)
PAIRS = [axis.reshape(1, 1, 256, 256) for axis in np.meshgrid(ALL, ALL)]


def grid(scale: float, zero: int) -> QParams:
    return QParams(spec=TensorSpec(), scale=np.asarray(scale, np.float32), zero_point=np.asarray(zero, np.int32))


def differing(operator: Operator, inputs: list[np.ndarray], tensors: dict[str, QParams], within: int = 0) -> int:
    """Number of codes in which, by more than `within`, ONNX Runtime, optimised and not, and the reference differ."""
    program = IntegerProgram(operators=(operator,), tensors=tensors, size=8, class_map=None)
    builder = GraphBuilder(8)
    WRITERS[type(operator)](Writer(builder, program), operator)
    kind = TensorProto.FLOAT if isinstance(operator, Linear) else TensorProto.UINT8
    name = "logits" if isinstance(operator, Linear) else operator.name
    graph = helper.make_graph(
        builder._nodes,
        "one",
        [helper.make_tensor_value_info(n, TensorProto.UINT8, list(x.shape)) for n, x in zip(operator.inputs, inputs, strict=True)],
        [helper.make_tensor_value_info(name, kind, None)],
        list(builder._initializers.values()),
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)], ir_version=IR_VERSION
    )
    grids = [tensors[n] for n in operator.inputs]
    expected = RULES[type(operator)](operator, inputs, grids, tensors.get(operator.name))
    wrong = 0
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(zip(operator.inputs, inputs, strict=True)))[0]
        assert found.shape == expected.shape
        wrong += int((np.abs(found.astype(np.float64) - expected) > within).sum())
    return wrong


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_add_over_all_pairs_with_tied_scales(rng: np.random.Generator) -> None:
    """Multiples of a unit, the sum's odd: of a size, or as unlike as they can be."""
    for trial in range(40):
        unit, low = rng.uniform(1e-5, 1e-3), 1 if trial % 2 else LARGEST_MULTIPLE // 3
        a, b, c = (int(multiple) for multiple in rng.integers(low, LARGEST_MULTIPLE, 3))
        tensors = {name: grid(unit * multiple, rng.integers(256)) for name, multiple in (("a", a), ("b", b), ("c", c | 1))}
        assert differing(Add(name="c", inputs=("a", "b")), PAIRS, tensors) == 0


def test_add_with_free_scales_is_why_they_are_tied(rng: np.random.Generator) -> None:
    wrong = 0
    for _ in range(40):
        tensors = {name: grid(rng.uniform(0.001, 0.1), rng.integers(256)) for name in "abc"}
        wrong += differing(Add(name="c", inputs=("a", "b")), PAIRS, tensors)
    assert wrong > 0


def test_mul_over_all_pairs_with_settled_scales(rng: np.random.Generator) -> None:
    for _ in range(40):
        scales = {"a": rng.uniform(0.001, 0.1), "b": 10 ** rng.uniform(-4, -1)}
        scales["c"] = scales["a"] * scales["b"] * 255 * 2 ** rng.uniform(-3, 3)
        free = "abc"[rng.integers(3)]
        scales[free] = float(settled_scale({name: float(np.float32(scale)) for name, scale in scales.items()}, "a", "b", "c", free))
        tensors = {name: grid(scale, rng.integers(256)) for name, scale in scales.items()}
        assert differing(Mul(name="c", inputs=("a", "b")), PAIRS, tensors) == 0


def test_mul_with_free_scales_is_why_they_are_settled(rng: np.random.Generator) -> None:
    wrong = 0
    for _ in range(40):
        scales = {"a": rng.uniform(0.001, 0.1), "b": rng.uniform(0.001, 0.1)}
        scales["c"] = scales["a"] * scales["b"] * 2.0 ** rng.integers(4, 8)
        wrong += differing(Mul(name="c", inputs=("a", "b")), PAIRS, {name: grid(scales[name], rng.integers(256)) for name in "abc"})
    assert wrong > 0


@pytest.mark.parametrize("shapes", [((2, 24, 7, 9), (2, 24, 1, 1)), ((2, 24, 1, 1), (2, 24, 7, 9)), ((3, 5, 1, 1), (3, 5, 1, 1))])
def test_mul_of_a_map_by_a_number_a_channel(shapes: tuple[tuple[int, ...], ...], rng: np.random.Generator) -> None:
    for _ in range(5):
        scales = {"a": rng.uniform(0.001, 0.1), "b": 1 / 256, "c": 0.05}
        scales["c"] = float(settled_scale(scales, "a", "b", "c", "c"))
        tensors = {name: grid(scale, rng.integers(256)) for name, scale in scales.items()}
        codes = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
        assert differing(Mul(name="c", inputs=("a", "b")), codes, tensors) == 0


@pytest.mark.parametrize("upwards", [False, True])
def test_settled_ratios_keep_every_product_away_from_halves(upwards: bool, rng: np.random.Generator) -> None:
    """Three orders of float32 arithmetic (and a fused one) round all 130,051 products as exact arithmetic does."""
    products = np.arange(-255 * 255, 255 * 255 + 1)
    for wanted in 10.0 ** rng.uniform(-4, -0.5, 40):
        ratio = settled_ratio(wanted, upwards=upwards)
        assert (ratio >= wanted) if upwards else (ratio <= wanted or wanted * products.max() < 8)
        assert abs(ratio / wanted - 1) < 2e-3 or wanted * products.max() < 8
        zero, scale = np.float32(rng.integers(256)), np.float32(wanted / 3)
        exact = np.rint(products * ratio + zero)
        inside = (exact >= 0) & (exact <= 255)
        single = products.astype(np.float32)
        orders = [
            single * np.float32(ratio) + zero,
            (single.astype(np.float64) * np.float32(ratio) + zero).astype(np.float32),
            (single * scale) / np.float32(scale / ratio) + zero,
        ]
        for values in orders:
            assert np.array_equal(np.rint(values)[inside], exact[inside])


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_tables_hold_the_function_of_every_code(op: str, rng: np.random.Generator) -> None:
    """Against torch's own function, in float64, and in ONNX Runtime over all codes."""
    attributes = {"leaky_relu": {"slope": 0.2}, "elu": {"alpha": 0.7}, "affine": {"factor": -0.4, "term": 1.5}}.get(op, {})
    function = partial(ELEMENTWISE[op], **attributes)
    node = Node(name="c", op=op, inputs=("a",), attributes=attributes)
    for bits in (2, 4, 8):
        source = qparams_from_range(-rng.uniform(1, 9), rng.uniform(1, 9), TensorSpec())
        values = dequantize(ALL, source).astype(np.float64)
        wanted = TORCH_RULES[op](node, [torch.from_numpy(values)], {}).numpy()
        assert np.allclose(function(values), wanted, rtol=1e-12, atol=1e-12)
        out = qparams_from_range(wanted.min(), wanted.max(), TensorSpec(bits=bits))
        codes = table_of(function, source, out)
        assert codes.max() <= out.spec.qmax
        assert np.abs(dequantize(codes, out) - wanted).max() <= 0.5001 * out.scale + 0.5 * out.scale * (codes.max() == out.spec.qmax)
        operator = Table(name="c", inputs=("a",), table=codes)
        assert differing(operator, [ALL.reshape(1, 1, 16, 16)], {"a": source, "c": out}) == 0


def test_the_runtimes_own_sigmoid_is_the_table_where_the_grid_is_settled(rng: np.random.Generator) -> None:
    every = ALL.reshape(1, 1, 16, 16)
    for _ in range(40):
        source = qparams_from_range(-rng.uniform(0.5, 20), rng.uniform(0.5, 20), TensorSpec())
        wanted = qparams_from_range(0.0, rng.uniform(0.5, 1.0), TensorSpec())
        out = settled_sigmoid(source, wanted)
        assert is_safe_sigmoid(source, out) and 1 <= out.scale / wanted.scale < 1.01
        operator = Table(name="c", inputs=("a",), table=table_of(ELEMENTWISE["sigmoid"], source, out), function="sigmoid")
        assert differing(operator, [every], {"a": source, "c": out}) == 0


def test_a_hard_sigmoid_is_a_bound_on_a_grid_of_a_sixth(rng: np.random.Generator) -> None:
    """The bounded codes mean exactly what the function gives, in real numbers, for every code."""
    for _ in range(40):
        wanted = qparams_from_range(-rng.uniform(2.5, 20), rng.uniform(2, 20), TensorSpec())
        grids = settled_hard_sigmoid(wanted, "a", "c")
        assert 1 <= grids["a"].scale / wanted.scale <= 1.25
        bounds = hard_sigmoid_bounds(grids["a"], grids["c"])
        assert bounds is not None
        expected = ELEMENTWISE["hard_sigmoid"](dequantize(ALL, grids["a"]).astype(np.float64))
        assert np.allclose(dequantize(np.clip(ALL, *bounds), grids["c"]), expected, atol=1e-6)
    assert settled_hard_sigmoid(qparams_from_range(-0.5, 1.0, TensorSpec()), "a", "c") == {}


def test_concat_over_all_codes(rng: np.random.Generator) -> None:
    every = ALL.reshape(1, 1, 16, 16)
    for _ in range(50):
        tensors = {name: grid(rng.uniform(0.001, 0.1), rng.integers(256)) for name in "abc"}
        assert differing(Concat(name="c", inputs=("a", "b")), [every, every], tensors) == 0


@pytest.mark.parametrize("low,high", [(0, 15), (3, 99), (0, 255), (127, 127)])
def test_clip_over_all_codes(low: int, high: int) -> None:
    assert (
        differing(Clip(name="c", inputs=("a",), low=low, high=high), [ALL.reshape(1, 1, 16, 16)], {"a": grid(0.1, 3), "c": grid(0.1, 3)})
        == 0
    )


@pytest.mark.parametrize("ties", [False, True])
def test_pointwise_convolution_over_all_codes_and_weights(ties: bool, rng: np.random.Generator) -> None:
    """One input channel, all 256 codes, all 127 weight codes: every product there is; with power-of-two scales, every tie."""
    weight = np.arange(-63, 64).astype(np.int8).reshape(127, 1, 1, 1)
    for _ in range(25):
        scale = np.full(127, 0.25, np.float32) if ties else rng.uniform(0.001, 0.1, 127).astype(np.float32)
        operator = Conv(
            name="c",
            inputs=("a",),
            weight=weight,
            weight_scale=scale,
            bias=rng.integers(-9000, 9000, 127).astype(np.int32),
            stride=(1, 1),
            pads=(0, 0, 0, 0),
            dilation=(1, 1),
            groups=1,
        )
        out = 2.0 ** rng.integers(2, 6) if ties else rng.uniform(0.2, 3)
        tensors = {"a": grid(0.25 if ties else rng.uniform(0.01, 0.5), rng.integers(256)), "c": grid(out, rng.integers(256))}
        assert differing(operator, [ALL.reshape(1, 1, 16, 16)], tensors) == 0


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_equals_the_reference_on_every_code(groups: int, kernel: int, stride: int, rng: np.random.Generator) -> None:
    for _ in range(4):
        operator = Conv(
            name="c",
            inputs=("a",),
            weight=rng.integers(-63, 64, (16, 8 // groups, kernel, kernel)).astype(np.int8),
            weight_scale=rng.uniform(0.001, 0.01, 16).astype(np.float32),
            bias=rng.integers(-5000, 5000, 16).astype(np.int32),
            stride=(stride, stride),
            pads=(0, 1, kernel // 2, 1),
            dilation=(1, 1),
            groups=groups,
        )
        tensors = {"a": grid(rng.uniform(0.001, 0.1), rng.integers(256)), "c": grid(rng.uniform(0.1, 2), rng.integers(256))}
        assert differing(operator, [rng.integers(0, 256, (2, 8, 14, 15), dtype=np.uint8)], tensors) == 0


def test_sums_of_extreme_codes_do_not_saturate() -> None:
    """255 x 63 in every tap, both signs: what overflows 16-bit pair sums with 8-bit weights."""
    for sign in (-1, 1):
        operator = Conv(
            name="c",
            inputs=("a",),
            weight=np.full((16, 64, 3, 3), sign * 63, np.int8),
            weight_scale=np.full(16, 0.01, np.float32),
            bias=np.zeros(16, np.int32),
            stride=(1, 1),
            pads=(1, 1, 1, 1),
            dilation=(1, 1),
            groups=1,
        )
        out = grid(255 * 63 * 576 * 1e-4 / 255, 128 - sign * 127)
        assert differing(operator, [np.full((1, 64, 8, 8), 255, np.uint8)], {"a": grid(0.01, 0), "c": out}) == 0


@pytest.mark.parametrize("ties", [False, True])
def test_global_average_pool_equals_the_reference_on_every_code(ties: bool, rng: np.random.Generator) -> None:
    for _ in range(60):
        plane = 2 ** rng.integers(0, 5, 2) if ties else rng.integers(1, 57, 2)
        codes = rng.integers(0, 256, (1, 8, *plane), dtype=np.uint8)
        scales = (0.25 * 2.0 ** rng.integers(-3, 3), 0.125) if ties else rng.uniform(0.001, 0.1, 2)
        tensors = {"a": grid(scales[0], rng.integers(256)), "c": grid(scales[1], rng.integers(256))}
        assert differing(GlobalAveragePool(name="c", inputs=("a",)), [codes], tensors) == 0


def test_linear_equals_the_reference_on_every_logit(rng: np.random.Generator) -> None:
    for _ in range(30):
        operator = Linear(
            name="l",
            inputs=("a",),
            weight=rng.integers(-63, 64, (5, 64)).astype(np.int8),
            weight_scale=rng.uniform(0.001, 0.01, 5).astype(np.float32),
            bias=rng.integers(-5000, 5000, 5).astype(np.int32),
        )
        codes = rng.integers(0, 256, (3, 64, 1, 1), dtype=np.uint8)
        assert differing(operator, [codes], {"a": grid(rng.uniform(0.001, 0.1), rng.integers(256))}) == 0


def test_dense_over_all_codes_and_weights(rng: np.random.Generator) -> None:
    """One feature, all 256 codes as tokens, all 127 weight codes; then many features, which fill the sums."""
    for trial in range(30):
        features = 1 if trial < 15 else int(rng.integers(2, 200))
        weight = np.arange(-63, 64)[:, None] if features == 1 else rng.integers(-63, 64, (127, features))
        operator = Dense(
            name="c",
            inputs=("a",),
            weight=weight.astype(np.int8),
            weight_scale=np.full(127, 0.25, np.float32) if trial % 3 == 0 else rng.uniform(0.001, 0.1, 127).astype(np.float32),
            bias=rng.integers(-9000, 9000, 127).astype(np.int32),
        )
        codes = ALL.reshape(2, 128, 1) if features == 1 else rng.integers(0, 256, (2, 40, features), dtype=np.uint8)
        out = 2.0 ** rng.integers(2, 6) if trial % 3 == 0 else rng.uniform(0.2, 3) * features**0.5
        tensors = {"a": grid(0.25 if trial % 3 == 0 else rng.uniform(0.01, 0.5), rng.integers(256)), "c": grid(out, rng.integers(256))}
        assert differing(operator, [codes], tensors) == 0


def test_product_of_matrices_over_all_pairs_of_codes(rng: np.random.Generator) -> None:
    """An outer product holds every pair of codes; longer sums hold what saturates 16-bit pairs."""
    for trial in range(30):
        inner = 1 if trial < 15 else int(rng.integers(2, 100))
        a = ALL.reshape(1, 1, 256, 1) if inner == 1 else rng.integers(0, 256, (2, 3, 20, inner), dtype=np.uint8)
        b = ALL.reshape(1, 1, 1, 256) if inner == 1 else rng.integers(0, 256, (2, 3, inner, 17), dtype=np.uint8)
        if trial >= 25:
            a, b = np.full_like(a, 255), np.full_like(b, 255)
        tensors = {name: grid(rng.uniform(0.001, 0.1), rng.integers(256)) for name in "ab"}
        tensors["c"] = grid(255 * rng.uniform(0.1, 1) * inner * float(tensors["a"].scale * tensors["b"].scale), rng.integers(256))
        assert differing(MatMul(name="c", inputs=("a", "b"), factor=float(rng.uniform(0.1, 1))), [a, b], tensors) == 0


@pytest.mark.parametrize(
    "operator",
    [
        Reshape(name="c", inputs=("a",), shape=(-1, 4, 3, 10)),
        Transpose(name="c", inputs=("a",), axes=(0, 2, 3, 1)),
        Select(name="c", inputs=("a",), axis=1, index=3),
        Slice(name="c", inputs=("a",), axis=2, start=1, stop=3),
        Constant(name="c", inputs=("a",), codes=np.arange(24, dtype=np.uint8).reshape(1, 2, 12)),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_moved_codes_equal_the_reference(operator: Operator, rng: np.random.Generator) -> None:
    codes = rng.integers(0, 256, (2, 6, 4, 5), dtype=np.uint8)
    assert differing(operator, [codes], {"a": grid(0.1, 3), "c": grid(0.1, 3)}) == 0


def test_float_islands_are_at_most_a_code_away(rng: np.random.Generator) -> None:
    """Not optimised and optimised, which fuses softmax into another table of exponentials."""
    for _ in range(20):
        codes = rng.integers(0, 256, (2, 3, 7, 24), dtype=np.uint8)
        tensors = {"a": grid(rng.uniform(0.01, 0.1), rng.integers(256)), "c": grid(1 / 255, 0)}
        assert differing(Softmax(name="c", inputs=("a",)), [codes], tensors, within=1) == 0
        gamma, beta = (rng.normal(size=24).astype(np.float32) for _ in range(2))
        tensors["c"] = grid(0.05, 128)
        assert differing(LayerNorm(name="c", inputs=("a",), gamma=gamma, beta=beta, epsilon=1e-5), [codes], tensors, within=1) == 0


def test_max_pool_equals_the_reference_on_every_code(rng: np.random.Generator) -> None:
    codes = rng.integers(0, 256, (2, 8, 14, 15), dtype=np.uint8)
    operator = MaxPool(name="c", inputs=("a",), kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1))
    assert differing(operator, [codes], {"a": grid(0.1, 3), "c": grid(0.1, 3)}) == 0
