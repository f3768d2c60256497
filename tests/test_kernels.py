"""Integers in float kernels: every code as in the integer file, and refused where that is not proven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from clinquant.core.reference import execute
from clinquant.edge.kernels import BOUND, exact_in_float, quicker_in_float, with_float_kernels
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from test_exactness import NETWORKS, classifier, every_tensor, images


@pytest.mark.parametrize("name", NETWORKS)
def test_every_code_is_that_of_the_reference(name: str, tmp_path: Path) -> None:
    source = classifier(name)
    size = source.card.preprocess.size
    program = lower(quantize(source, images(size, 8, 1), recipes=("mse",))["mse"])
    model = onnx.load(export_integer(program, tmp_path / "integer.onnx"))
    proven = exact_in_float(model)
    assert proven and quicker_in_float(model) <= proven
    depthwise = {node.name for node in model.graph.node if attribute(node, "group") > 1}
    assert depthwise & proven <= quicker_in_float(model) and bool(quicker_in_float(model)) == bool(depthwise)
    mixed = with_float_kernels(model, proven)
    assert sum(node.op_type == "Conv" for node in mixed.graph.node) == len(proven)
    onnx.save(mixed, tmp_path / "mixed.onnx")
    pixels = images(size, 2, 3)
    expected = execute(program, pixels) | {"pixels": pixels}
    for tensor, codes in every_tensor(tmp_path / "mixed.onnx", program, pixels, optimised=False).items():
        assert np.array_equal(codes, expected[tensor]), tensor


def attribute(node: onnx.NodeProto, name: str) -> int:
    return next((found.i for found in node.attribute if found.name == name), 1)


def one_convolution(weight: np.ndarray, bias: np.ndarray, zero: int, multiplier: float) -> onnx.ModelProto:
    arrays = {
        "x_scale": np.float32(1), "x_zero": np.uint8(zero), "weight": weight, "w_scale": np.full(len(weight), multiplier, np.float32),
        "w_zero": np.zeros(len(weight), np.int8), "y_scale": np.float32(1), "y_zero": np.uint8(128), "bias": bias,
    }  # fmt: skip
    node = helper.make_node("QLinearConv", ["image", *arrays], ["y"], "y")
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("image", "y")]
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def answers(model: onnx.ModelProto, codes: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": codes})[0])


@pytest.mark.parametrize("zero", [0, 128, 255])
def test_sums_up_to_the_bound_are_exact_and_longer_ones_are_refused(zero: int) -> None:
    """A weight of 127 everywhere, codes at either end, and a bias that takes the largest sum to 2^24 - 1: no sum is rounded there."""
    weight = np.full((1, 500, 1, 1), 127, np.int8)
    reach = 500 * 127 * max(zero, 255 - zero)
    bias = np.array([BOUND - 1 - reach], np.int32)
    rng = np.random.default_rng(zero)
    codes = rng.integers(0, 256, (1, 500, 5, 40)).astype(np.uint8)
    codes[..., 0], codes[..., 1] = 0, 255
    sums = (codes.astype(np.int64) - zero).sum(1) * 127 + int(bias[0])
    expected = np.clip(np.rint(sums.astype(np.float32) * np.float32(2.0**-17)) + 128, 0, 255)[:, None]
    model = one_convolution(weight, bias, zero, 2.0**-17)
    assert exact_in_float(model) == {"y"}
    for made in (model, with_float_kernels(model, {"y"})):
        assert np.array_equal(answers(made, codes), expected)
    longer = one_convolution(weight, bias + 1, zero, 2.0**-17)
    assert exact_in_float(longer) == frozenset()
    with pytest.raises(ValueError, match="y"):
        with_float_kernels(longer, {"y"})
