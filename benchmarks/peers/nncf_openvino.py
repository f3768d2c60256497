"""NNCF's post-training quantization of an OpenVINO model, and its quantization-aware training of a torch one, run by OpenVINO.

Below 8 bits `nncf.quantize` takes a number of bits among its advanced parameters; OpenVINO then computes in float between the narrow grids.
"""

from __future__ import annotations

from typing import Any

import nncf
import numpy as np
import openvino
import torch
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, Unsupported, best_on_tune
from benchmarks.peers.training import trained_on
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
from nncf.torch.function_hook import wrap_model
from nncf.torch.function_hook.nncf_graph.nncf_graph_builder import build_nncf_graph
from numpy.typing import NDArray

WIDTHS = {"w8a8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4)}
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
EIGHT_BITS_ONLY = ("ReduceMean", "AdaptiveAvgPool", "Add", "GroupConvolution")
"""What even NNCF's only target with 4-bit layers (NPU) refuses to have at 4 bits, depthwise layers among them; left in float."""


def defaults(case: Case, bits: str) -> Deployed:
    """`nncf.quantize` with nothing but model and images given."""
    return quantized(case, bits, f"defaults {bits}")


def best(case: Case, bits: str) -> Deployed:
    """Presets, and at 8 bits fast or exact bias correction, chosen on tune.

    Below 8 bits the first and last layer stay float, as NNCF has one width for all.
    """
    candidates = {}
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        for fast in (True, False) if bits == "w8a8" else (True,):
            name = f"{preset.value}, {'fast' if fast else 'exact'} bias correction"
            candidates[name] = lambda preset=preset, fast=fast, name=name: quantized(
                case, bits, name, spare_ends=bits != "w8a8", preset=preset, fast_bias_correction=fast
            )
    return best_on_tune(case, candidates)


def trained(case: Case, bits: str) -> Deployed:
    """Quantization-aware training of the torch network, scales learnt; batch norm live; first and last layer float."""
    if bits not in WIDTHS:
        raise Unsupported(f"no target of NNCF takes {bits}: activations have 4 bits at least")
    size = case.classifier.card.preprocess.size
    example = torch.zeros(1, 3, size, size)
    graph = build_nncf_graph(wrap_model(case.module), example)
    layers = [node.node_name for node in graph.get_all_nodes() if node.node_type in ("conv2d", "linear")]
    kept = [
        node.node_name for node in graph.get_all_nodes() if node.node_type in ("adaptive_avg_pool2d", "mean", "__add__", "add", "__iadd__")
    ]
    modules = dict(case.module.named_modules())
    grouped = [name for name in layers if getattr(modules.get(name.rsplit("/", 2)[0].replace("/", ".")), "groups", 1) > 1]
    module = nncf.quantize(
        case.module,
        nncf.Dataset([torch.from_numpy(case.calibration[row : row + 1]) for row in range(len(case.calibration))]),
        subset_size=len(case.calibration),
        **narrow(bits),
        ignored_scope=nncf.IgnoredScope(names=list(dict.fromkeys([layers[0], layers[-1], *kept, *grouped]))),
    )
    module = trained_on(case, module, f"nncf-{bits}")
    model = openvino.convert_model(module, example_input=example, input=[1, 3, size, size])
    return deployed(case, model, bits, "quantized by nncf.quantize, trained")


def narrow(bits: str) -> dict[str, Any]:
    """What `nncf.quantize` is told for fewer than 8 bits."""
    weight, activation = WIDTHS[bits]
    return {
        "target_device": nncf.TargetDevice.NPU,
        "advanced_parameters": AdvancedQuantizationParameters(
            weights_quantization_params=QuantizationParameters(num_bits=weight),
            activations_quantization_params=QuantizationParameters(num_bits=activation),
        ),
    }


def quantized(case: Case, bits: str, recipe: str, *, spare_ends: bool = False, **options: Any) -> Deployed:
    """One call of `nncf.quantize`, compiled by OpenVINO."""
    size = case.classifier.card.preprocess.size
    model = openvino.convert_model(case.module, example_input=torch.zeros(1, 3, size, size), input=[1, 3, size, size])
    dataset = nncf.Dataset([case.calibration[row : row + 1] for row in range(len(case.calibration))])
    if bits != "w8a8":
        options |= narrow(bits)
    if spare_ends:
        nodes = [(node.get_friendly_name(), node.get_type_name()) for node in model.get_ordered_ops()]
        layers = [name for name, kind in nodes if kind in LAYERS]
        pooled = [name for name, kind in nodes if kind in EIGHT_BITS_ONLY]
        options["ignored_scope"] = nncf.IgnoredScope(names=[layers[0], layers[-1], *pooled])
    model = nncf.quantize(model, dataset, subset_size=len(case.calibration), **options)
    return deployed(case, model, bits, recipe)


def deployed(case: Case, model: openvino.Model, bits: str, recipe: str) -> Deployed:
    """The model saved, and compiled with one thread in float32 where it is not integer.

    A file for each recipe: OpenVINO maps weights from it for as long as the compiled model lives.
    """
    path = case.folder / f"nncf-{bits}-{recipe.replace(',', '').replace(' ', '-')}.xml"
    openvino.save_model(model, path, compress_to_fp16=False)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def predict(images: Images) -> NDArray[Any]:
        return np.concatenate([np.array(request.infer([images[row : row + 1]])[0]) for row in range(len(images))])

    runtime = f"openvino {openvino.__version__.split('-')[0]}" + ("" if bits == "w8a8" else ", simulated")
    return Deployed(predict=predict, bytes=path.stat().st_size + path.with_suffix(".bin").stat().st_size, runtime=runtime, recipe=recipe)
