"""Brevitas, layer-wise, as its own image classification example does it, exported as QCDQ ONNX and run by ONNX Runtime.

The first and last layer keep 8 bits. QCDQ keeps narrow weights in int8 and narrow activations behind a Clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.peers.case import Case
from benchmarks.peers.onnx_runtime import deployed
from benchmarks.peers.tool import Deployed, best_on_tune
from benchmarks.peers.training import trained_on
from brevitas.export import export_onnx_qcdq
from brevitas.graph.quantize import layerwise_quantize, preprocess_for_quantize
from brevitas.inject import value
from brevitas_examples.imagenet_classification.ptq.ptq_common import apply_bias_correction, apply_gptq, calibrate, create_quant_maps
from torch import nn

WIDTHS = {"w8a8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4), "w2a2": (2, 2)}
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How scales are found: `stats` (weights: the maximum, activations: a percentile) or `mse`."""

    weight: str = "stats"
    activation: str = "stats"


def defaults(case: Case, bits: str) -> Deployed:
    """Ranges by statistics and bias correction, the example's defaults."""
    return exported(case, quantized(case, bits, gptq=False), bits, f"defaults {bits}")


def best(case: Case, bits: str) -> Deployed:
    """The range rule, below 8 bits with GPTQ, chosen on tune; cross-layer equalization and bias correction always."""
    narrow = bits != "w8a8"
    ways = [Ways(), Ways(weight="mse", activation="mse" if bits == "w4a4" else "stats")]
    candidates = {
        f"equalized, weights {way.weight}, activations {way.activation}{', GPTQ' if gptq else ''}, bias corrected": (
            lambda way=way, gptq=gptq: exported(case, quantized(case, bits, way, gptq=gptq, equalize=20), bits, "")
        )
        for way, gptq in zip(ways, (False, narrow), strict=True)
    }
    return best_on_tune(case, candidates)


def trained(case: Case, bits: str) -> Deployed:
    """Quantization-aware training with learnt scales of weights and activations, from ranges by mean squared error; batch norm live."""
    module = preprocess_for_quantize(case.module, equalize_iters=0, merge_bn=False, trace_model=True)
    module = on_grids(case, module, bits, Ways(weight="mse", activation="mse"))
    calibrate(Batches(case), module)
    return exported(case, trained_on(case, module, f"brevitas-{bits}"), f"{bits}-trained", "learnt scales, layer-wise")


def quantized(case: Case, bits: str, ways: Ways | None = None, *, gptq: bool, equalize: int = 0) -> nn.Module:
    """The example's order: batch norm merged, equalized, put on grids, calibrated, GPTQ, bias corrected."""
    batches = Batches(case)
    module = preprocess_for_quantize(case.module, equalize_iters=equalize, merge_bn=True, trace_model=True)
    module = on_grids(case, module, bits, ways or Ways())
    calibrate(batches, module)
    if gptq:
        apply_gptq(batches, module, act_order=False, use_quant_activations=True, create_weight_orig=True)
    apply_bias_correction(batches, module)
    return module.eval()


def on_grids(case: Case, module: nn.Module, bits: str, ways: Ways) -> nn.Module:
    """Quantized layers, their scales initialised."""
    module = layerwise_quantize(module.eval(), compute_layer_map=layer_map(bits, ways)).eval()
    with torch.no_grad():
        module(torch.from_numpy(case.calibration[:BATCH]))
    return module


def layer_map(bits: str, ways: Ways) -> dict[type[nn.Module], Any]:
    """Layer -> its quantized kind: weights symmetric a scale a channel, activations asymmetric, both as `bits` says."""
    weight, activation = WIDTHS[bits]
    maps = create_quant_maps(
        dtype=torch.float32,
        bias_bit_width=32,
        weight_bit_width=ends_at_8(weight),
        weight_param_method=ways.weight,
        weight_scale_type="float_scale",
        weight_quant_type="sym",
        weight_quant_granularity="per_channel",
        weight_narrow_range=True,
        weight_quant_format="int",
        act_quant_format="int",
        act_bit_width=ends_at_8(activation),
        act_scale_type="float_scale",
        act_scale_computation_type="static",
        act_param_method=ways.activation,
        act_quant_type="asym",
        act_quant_granularity="per_tensor",
        act_quant_percentile=99.999,
    )
    return dict(maps[1])


def ends_at_8(bits: int) -> Any:
    """A width that depends on the layer, in Brevitas's way of saying so."""

    @value
    def width(module: nn.Module) -> int:
        return 8 if isinstance(module, nn.Linear) or getattr(module, "in_channels", 0) == 3 else bits

    return width


def exported(case: Case, module: nn.Module, bits: str, recipe: str) -> Deployed:
    """QCDQ ONNX on ONNX Runtime."""
    path = case.folder / f"brevitas-{bits}.onnx"
    size = case.classifier.card.preprocess.size
    export_onnx_qcdq(module, args=torch.zeros(1, 3, size, size), export_path=str(path), opset_version=17, dynamo=False)
    return deployed(path, recipe)


class Batches:
    """Calibration images as a loader of (images, labels) gives them."""

    def __init__(self, case: Case) -> None:
        self.images = torch.from_numpy(case.calibration)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, None]]:
        for start in range(0, len(self.images), BATCH):
            yield self.images[start : start + BATCH], None

    def __len__(self) -> int:
        return -(-len(self.images) // BATCH)
