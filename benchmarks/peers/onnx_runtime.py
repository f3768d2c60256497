"""ONNX Runtime's own static quantization (QDQ), run by ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, best_on_tune
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from clinquant.edge.integer_audit import executed, optimised_graph, summed

WEIGHT = {"w8a8": QuantType.QInt8, "w4a8": QuantType.QInt4, "w4a4": QuantType.QInt4}
ACTIVATION = {"w8a8": QuantType.QUInt8, "w4a8": QuantType.QUInt8, "w4a4": QuantType.QUInt4}
HISTOGRAM_VALUES = 1 << 30
"""Entropy and percentile calibration keep every tensor of every image: they get as many images as this many numbers allow."""


def defaults(case: Case, bits: str) -> Deployed:
    """`quantize_static` with nothing but model and images given (int8 both, a scale a tensor, min-max ranges)."""
    options: dict[str, Any] = {} if bits == "w8a8" else {"weight_type": WEIGHT[bits]}
    if bits == "w4a4":
        options["activation_type"] = QuantType.QInt4
    return quantized(case, bits, "default", f"defaults {bits}", **options)


def best(case: Case, bits: str) -> Deployed:
    """Weights a scale a channel, unsigned activations; range rule and reduced range chosen on tune; first and last layer at 8 bits."""
    exported(case)
    candidates = {}
    for method in CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy:
        for reduced in (False, True) if bits == "w8a8" else (False,):
            name = f"per channel, {method.name}{', reduced range' if reduced else ''}"
            candidates[name] = lambda method=method, reduced=reduced, name=name: quantized(
                case,
                bits,
                f"{method.name}-{reduced}",
                name,
                per_channel=True,
                reduce_range=reduced,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                calibration_cache_path=case.folder / f"onnxruntime-{method.name}.json",
                extra_options=narrowed(case, bits),
            )
    return best_on_tune(case, candidates)


def narrowed(case: Case, bits: str) -> dict[str, Any]:
    """Overrides that bring every layer but the first and last to `bits`."""
    if bits == "w8a8":
        return {}
    model = onnx.load(exported(case))
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in layers[1:-1]:
        overrides[node.input[1]] = [{"quant_type": WEIGHT[bits], "symmetric": True, "axis": 0}]
        if bits == "w4a4":
            overrides[node.input[0]] = [{"quant_type": QuantType.QUInt4}]
    return {"TensorQuantOverrides": overrides}


def quantized(case: Case, bits: str, stem: str, recipe: str, **options: Any) -> Deployed:
    """One call of `quantize_static`, deployed."""
    path = case.folder / f"onnxruntime-{bits}-{stem}.onnx"
    images = case.calibration
    if options.get("calibrate_method") in (CalibrationMethod.Entropy, CalibrationMethod.Percentile):
        images = images[: max(16, HISTOGRAM_VALUES // values_of(case))]
    quantize_static(exported(case), path, Reader(images), **options)
    return deployed(path, recipe)


def exported(case: Case) -> Path:
    """The float network as torch exports it, pre-processed as ONNX Runtime's documentation asks."""
    path = case.folder / "torch-float.onnx"
    if not path.exists():
        raw, size = path.with_suffix(".raw.onnx"), case.classifier.card.preprocess.size
        raw.parent.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(
            case.module,
            (torch.zeros(1, 3, size, size),),
            str(raw),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "n"}, "logits": {0: "n"}},
        )
        quant_pre_process(str(raw), str(path), skip_symbolic_shape=True)
    return path


def values_of(case: Case) -> int:
    """Numbers that the tensors of one image hold."""
    size, total = case.classifier.card.preprocess.size, 0

    def count(_: torch.nn.Module, __: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel()

    module = case.module
    for child in module.modules():
        if not list(child.children()):
            child.register_forward_hook(count)
    with torch.no_grad():
        module(torch.zeros(1, 3, size, size))
    return total


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """One thread, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def deployed(path: Path, recipe: str) -> Deployed:
    """A file with input images and output logits."""
    session = session_of(path)
    name = session.get_inputs()[0].name

    def predict(images: Images) -> NDArray[Any]:
        return np.concatenate([np.asarray(session.run(None, {name: images[row : row + 1]})[0]) for row in range(len(images))])

    runtime = f"onnxruntime {onnxruntime.__version__}" + ("" if in_integers(path) else ", simulated")
    return Deployed(predict=predict, bytes=path.stat().st_size, runtime=runtime, recipe=recipe)


def in_integers(path: Path) -> bool:
    """Whether ONNX Runtime does most of the file's multiply-accumulates in 8-bit integers: it fuses only what its rules know."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = optimised_graph(path, Path(folder))
        found = optimised.graph.input[0]
        shape = [axis.dim_value or 1 for axis in found.type.tensor_type.shape.dim]
        nodes = executed(optimised, {found.name: np.zeros(shape, np.float32)}, Path(folder))
        return (summed(nodes, optimised).share_int8 or 0.0) > 0.5


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Images one at a time."""

    def __init__(self, images: Images) -> None:
        self.rows: Iterator[Images] = (images[row : row + 1] for row in range(len(images)))

    def get_next(self) -> dict[str, Images] | None:
        """The next image, None after the last."""
        row = next(self.rows, None)
        return None if row is None else {"x": row}
