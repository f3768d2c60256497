"""The integer audit: counts against the network's own arithmetic, and controls whose true share is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clinquant.core.errors import ClinquantError
from clinquant.core.integer import Conv, IntegerProgram, Linear
from clinquant.core.reference import execute
from clinquant.edge.integer_audit import integer_audit
from clinquant.edge.resize import IR_VERSION, OPSET
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.export.qdq import export_qdq
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.quantized import QuantizedNetwork
from test_exactness import classifier, images


@pytest.fixture(scope="module")
def quantized() -> Callable[[str, str], QuantizedNetwork]:
    def make(name: str, bits: str) -> QuantizedNetwork:
        source = classifier(name)
        return quantize(source, images(source.card.preprocess.size, 4, 1), bits=bits, recipes=("minmax",))["minmax"]

    return make


def macs_of(program: IntegerProgram) -> int:
    """Multiply-accumulates of one picture, from the reference's own tensors."""
    made = execute(program, images(program.size, 1, 0))
    layers = [*program.operators, *([program.class_map] if program.class_map else [])]
    total = 0
    for layer in layers:
        if isinstance(layer, Conv | Linear):
            output = made["class_map" if layer is program.class_map else layer.name]
            total += output.size * layer.weight[0].size
    return total


@pytest.mark.parametrize("name,bits", [("resnet20", "w8a8"), ("resnet20", "w2a2"), ("mobilenet_v2", "w4a4"), ("small_silu", "w8a8")])
def test_the_portable_form_runs_in_integers_alone(
    name: str, bits: str, quantized: Callable[[str, str], QuantizedNetwork], tmp_path: Path
) -> None:
    program = lower(quantized(name, bits))
    audit = integer_audit(export_integer(program, tmp_path / "integer.onnx"), program.size)
    assert audit.share_int8 == 1.0 and audit.uncounted == ()
    assert sum(kind.macs for kind in audit.types.values()) == macs_of(program)
    weights = sum(o.weight.size for o in program.operators if isinstance(o, Conv | Linear))
    assert audit.types["int8"].constant_bytes >= weights, "packed weights are expanded when the file is loaded"
    assert "float" not in audit.types or audit.types["float"].operators == {}, "nothing reads floats"
    assert not {"Conv", "Gemm", "MatMul"} & {operator for kind in audit.types.values() for operator in kind.operators}


def test_a_float_file_has_no_integer_arithmetic(quantized: Callable[[str, str], QuantizedNetwork], tmp_path: Path) -> None:
    network = quantized("resnet20", "w8a8")
    audit = integer_audit(export_float(network.network, network.card.preprocess, tmp_path / "float.onnx"), 28)
    program = lower(network)
    assert audit.share_int8 == 0.0
    found = audit.types["float"].macs
    assert macs_of(program) <= found < 1.1 * macs_of(program), "the runtime pads channels, and little more"
    assert audit.memory_bytes > 4 * sum(o.weight.size for o in program.operators if isinstance(o, Conv | Linear))


def test_a_qdq_file_shows_what_stayed_float(quantized: Callable[[str, str], QuantizedNetwork], tmp_path: Path) -> None:
    """Half the quantizers taken out: the convolutions behind them run in float, whatever the file's name says."""
    network = quantized("resnet20", "w8a8")
    whole = export_qdq(network, tmp_path / "qdq.onnx")
    full = integer_audit(whole, 28).share_int8
    model = onnx.load(whole)
    made = {output: node for node in model.graph.node for output in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    for conv in convs[::2]:
        source = made[conv.input[0]]
        if source.op_type == "DequantizeLinear" and made.get(source.input[0]) is not None:
            conv.input[0] = made[source.input[0]].input[0]
    onnx.save(model, tmp_path / "half.onnx")
    half = integer_audit(tmp_path / "half.onnx", 28).share_int8
    assert full is not None and half is not None
    assert 0.9 < full < 1.0, "its last layer is a float Gemm"
    assert 0.1 < half < 0.9


def test_dynamic_products_count_and_other_arithmetic_is_named(tmp_path: Path) -> None:
    """A product of two computed tensors, 4 x 27 by 27 x 4, in float; and an Einsum that nobody counts."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["rows", "columns"], ["products"]),
        helper.make_node("Einsum", ["products", "products"], ["logits"], equation="bij,bjk->bi"),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, 4, 27], np.int64), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), tmp_path / "m.onnx")
    audit = integer_audit(tmp_path / "m.onnx", 6)
    assert audit.uncounted == ("Einsum",) and audit.types["float"].macs == 4 * 27 * 4 and audit.share_int8 == 0.0


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ClinquantError, match="model-unreadable"):
        integer_audit(tmp_path / "broken.onnx", 28)
