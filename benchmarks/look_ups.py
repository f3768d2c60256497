"""What a code costs in the operators that functions of one number can be written in: why SiLU and hard-swish are written as products.

    python -m benchmarks.look_ups --out benchmarks/results/look_ups.csv

One thread, 96 channels of 56 x 56 codes, the shortest of 50 runs. The CSV is the resume key.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime
from benchmarks.rows import Rows
from onnx import TensorProto, helper, numpy_helper

from clinquant.edge.resize import IR_VERSION, OPSET
from clinquant.lab.export.builder import MICROSOFT

SHAPE = (1, 96, 56, 56)
RUNS = 50
FORMS = ("Gather", "QLinearSigmoid", "QLinearMul", "Clip")


def main() -> None:
    """Times every form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    rows = Rows(parser.parse_args().out, ("form",))
    for form in FORMS:
        if {"form": form} not in rows:
            seconds = shortest(session_of(form))
            rows.add({"form": form, "nanoseconds_a_code": f"{seconds * 1e9 / np.prod(SHAPE):.2f}", "onnxruntime": onnxruntime.__version__})


def session_of(form: str) -> onnxruntime.InferenceSession:
    """One operator (Gather with the Cast of its indices) from uint8 codes to uint8 codes."""
    read, write = ["a.scale", "a.zero"], ["c.scale", "c.zero"]
    nodes = {
        "Gather": [
            helper.make_node("Cast", ["a"], ["index"], to=TensorProto.INT32),
            helper.make_node("Gather", ["table", "index"], ["c"]),
        ],
        "QLinearSigmoid": [helper.make_node("QLinearSigmoid", ["a", *read, *write], ["c"], domain=MICROSOFT)],
        "QLinearMul": [helper.make_node("QLinearMul", ["a", *read, "a", *read, *write], ["c"], domain=MICROSOFT)],
        "Clip": [helper.make_node("Clip", ["a", "low", "high"], ["c"])],
    }[form]
    constants = {
        "table": np.arange(256, dtype=np.uint8),
        "a.scale": np.float32(0.05),
        "c.scale": np.float32(1 / 256),
        **{name: np.uint8(value) for name, value in (("a.zero", 120), ("c.zero", 0), ("low", 60), ("high", 180))},
    }
    used = {name for node in nodes for name in node.input}
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used]
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, SHAPE) for name in "ac"]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(helper.make_graph(nodes, form, ends[:1], ends[1:], tensors), opset_imports=opsets, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def shortest(session: onnxruntime.InferenceSession) -> float:
    """Seconds of the shortest of `RUNS` runs."""
    codes = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    found = []
    for _ in range(RUNS):
        start = time.perf_counter()
        session.run(None, {"a": codes})
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
