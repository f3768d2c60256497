"""ai-edge-quantizer on a LiteRT model converted from torch, run by LiteRT."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, Unsupported, best_on_tune
from numpy.typing import NDArray


def best(case: Case, bits: str) -> Deployed:
    """The static recipe, its algorithm for weights chosen on tune.

    At W4A8 plain convolutions get 4-bit weights (of depthwise ones the quantizer has 8 bits only), but for the first.
    """
    if bits not in ("w8a8", "w4a8"):
        raise Unsupported("ai-edge-quantizer: activation quantization is only supported for 16 or 8 bits")
    converted(case)
    weights = (AlgorithmName.MIN_MAX_UNIFORM_QUANT, AlgorithmName.OCTAV, AlgorithmName.MSE)
    return best_on_tune(case, {f"static, weights by {name.value}": lambda name=name: quantized(case, bits, name) for name in weights})


def defaults(case: Case, bits: str) -> Deployed:
    """The static recipe as it stands; at W4A8 every plain convolution at 4 bits."""
    if bits not in ("w8a8", "w4a8"):
        raise Unsupported("ai-edge-quantizer: activation quantization is only supported for 16 or 8 bits")
    return quantized(case, bits, AlgorithmName.MIN_MAX_UNIFORM_QUANT, spare_first=False)


def quantized(case: Case, bits: str, algorithm: AlgorithmName, *, spare_first: bool = True) -> Deployed:
    """Calibrated on all calibration images, quantized, opened."""
    path = converted(case)
    work = quantizer.Quantizer(str(path), static(bits, algorithm, first_convolution(path) if spare_first else None))
    signature = "serving_default"
    name = next(iter(Interpreter(str(path)).get_signature_runner(signature).get_input_details()))
    ranges = work.calibrate({signature: [{name: case.calibration[row : row + 1]} for row in range(len(case.calibration))]})
    return deployed(bytes(work.quantize(ranges).quantized_model), f"static, weights by {algorithm.value}")


def static(bits: str, algorithm: AlgorithmName, first: str | None) -> Any:
    """The quantizer's recipe; later entries overrule earlier ones."""
    manager = recipe_manager.RecipeManager()
    manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
    weighted = (TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.FULLY_CONNECTED)
    if algorithm is not AlgorithmName.MIN_MAX_UNIFORM_QUANT:
        for operation in weighted:
            manager.add_static_config(".*", operation, 8, 8, algorithm_key=algorithm)
    if bits == "w4a8":
        manager.add_static_config(".*", TFLOperationName.CONV_2D, 8, 4, algorithm_key=algorithm)
        if first:
            manager.add_static_config(re.escape(first), TFLOperationName.CONV_2D, 8, 8, algorithm_key=algorithm)
    return manager.get_quantization_recipe()


def first_convolution(path: Any) -> str:
    """Name of the tensor that the first convolution writes, by which recipes know it."""
    interpreter = Interpreter(str(path))
    names = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    operation = next(found for found in interpreter._get_ops_details() if found["op_name"] == "CONV_2D")
    return str(names[operation["outputs"][0]])


def converted(case: Case) -> Any:
    """The float LiteRT file, channels last inside as LiteRT wants it."""
    path = case.folder / "float.tflite"
    if not path.exists():
        size = case.classifier.card.preprocess.size
        litert_torch.convert(case.module.eval(), (torch.zeros(1, 3, size, size),)).export(str(path))
    return path


def deployed(content: bytes, recipe_name: str) -> Deployed:
    """A LiteRT file on one thread."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def predict(images: Images) -> NDArray[Any]:
        rows = []
        for row in range(len(images)):
            interpreter.set_tensor(entry["index"], into(images[row : row + 1], entry))
            interpreter.invoke()
            rows.append(out_of(interpreter.get_tensor(exit_["index"]), exit_))
        return np.concatenate(rows)

    return Deployed(predict=predict, bytes=len(content), runtime=f"LiteRT {version('ai-edge-litert')}", recipe=recipe_name)


def into(images: Images, detail: dict[str, Any]) -> NDArray[Any]:
    """Images as codes where the file wants codes."""
    scale, zero = detail["quantization"]
    if detail["dtype"] == np.float32:
        return images
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.rint(images / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def out_of(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    """Logits of codes."""
    scale, zero = detail["quantization"]
    return values if detail["dtype"] == np.float32 else (values.astype(np.float32) - zero) * np.float32(scale)
