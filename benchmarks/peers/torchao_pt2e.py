"""torchao's PT2E quantization: at 8 bits lowered to x86 integer kernels, below as torch computes the converted program (simulated)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
import torchao
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, Unsupported
from numpy.typing import NDArray
from torchao.quantization.pt2e.lowering import lower_pt2e_quantized_to_x86
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

WIDTHS = {"w4a8": (4, 8), "w4a4": (4, 4)}


def best(case: Case, bits: str) -> Deployed:
    """X86InductorQuantizer at 8 bits; below, XNNPACKQuantizer's recipe with narrow ranges, first and last layer at 8 bits."""
    if bits == "w8a8":
        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        return deployed(case, converted(case, quantizer), "X86InductorQuantizer, defaults", lower=True)
    if bits not in WIDTHS:
        raise Unsupported(f"no quantizer of torchao takes {bits}")
    weight, activation = (2 ** (width - 1) for width in WIDTHS[bits])
    narrow = get_symmetric_quantization_config(
        is_per_channel=True, act_qmin=-activation, act_qmax=activation - 1, weight_qmin=1 - weight, weight_qmax=weight - 1
    )
    first, last = ends(case.module)
    wide = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = XNNPACKQuantizer().set_global(narrow).set_module_name(first, wide).set_module_name(last, wide)
    return deployed(case, converted(case, quantizer), f"XNNPACKQuantizer with ranges of {bits}", lower=False)


def ends(module: torch.nn.Module) -> tuple[str, str]:
    """Names of the first and the last weighted layer."""
    names = [name for name, layer in module.named_modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    return names[0], names[-1]


def converted(case: Case, quantizer: Any) -> torch.fx.GraphModule:
    """Exported, prepared, shown the calibration images, converted."""
    size = case.classifier.card.preprocess.size
    example = (torch.zeros(1, 3, size, size),)
    prepared = prepare_pt2e(torch.export.export(case.module, example).module(), quantizer)
    with torch.no_grad():
        for row in range(len(case.calibration)):
            prepared(torch.from_numpy(case.calibration[row : row + 1]))
    return without_unused(convert_pt2e(prepared))


def without_unused(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The program without the float weights that conversion leaves beside the integer ones: they would be saved with it."""
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in [*module.named_parameters(), *module.named_buffers()]:
        if name not in used:
            owner = module.get_submodule(name.rpartition(".")[0])
            delattr(owner, name.rpartition(".")[2])
    return module


def deployed(case: Case, module: torch.fx.GraphModule, recipe: str, *, lower: bool) -> Deployed:
    """The converted program, its bytes as `torch.export.save` writes them."""
    size = case.classifier.card.preprocess.size
    example = (torch.zeros(1, 3, size, size),)
    file = io.BytesIO()
    with torch.no_grad():
        torch.export.save(torch.export.export(module, example), file)
        run = lower_pt2e_quantized_to_x86(module, example) if lower else module

    def predict(images: Images) -> NDArray[Any]:
        with torch.no_grad():
            return np.concatenate([run(torch.from_numpy(images[row : row + 1])).numpy() for row in range(len(images))])

    runtime = f"torch {torch.__version__}, " + ("x86 integer kernels" if lower else "simulated")
    return Deployed(predict=predict, bytes=file.getbuffer().nbytes, runtime=runtime, recipe=f"{recipe} (torchao {torchao.__version__})")
