"""torchao's PT2E quantization: at 8 bits lowered to x86 integer kernels, below as torch computes the converted program (simulated)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
import torchao
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, Unsupported
from benchmarks.peers.training import trained_on
from numpy.typing import NDArray
from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train
from torchao.quantization.pt2e.lowering import lower_pt2e_quantized_to_x86
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

WIDTHS = {"w4a8": (4, 8), "w4a4": (4, 4), "w2a2": (2, 2)}


def best(case: Case, bits: str) -> Deployed:
    """X86InductorQuantizer at 8 bits; below, XNNPACKQuantizer's recipe with narrow ranges, first and last layer at 8 bits."""
    if bits == "w8a8":
        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        return deployed(case, converted(case, quantizer), "X86InductorQuantizer, defaults", lower=True)
    if bits not in WIDTHS:
        raise Unsupported(f"no quantizer of torchao takes {bits}")
    quantizer = narrow_quantizer(case, bits, train=False)
    return deployed(case, converted(case, quantizer), f"XNNPACKQuantizer with ranges of {bits}", lower=False)


def trained(case: Case, bits: str) -> Deployed:
    """Quantization-aware training with XNNPACKQuantizer's recipe at narrow ranges: moving min-max ranges, straight-through gradients."""
    size = case.classifier.card.preprocess.size
    batches = {"x": {0: torch.export.Dim("n", min=2, max=1024)}}
    program = torch.export.export(case.module, (torch.zeros(2, 3, size, size),), dynamic_shapes=batches)
    module = Exported(prepare_qat_pt2e(program.module(), narrow_quantizer(case, bits, train=True)))
    trained_on(case, module, f"torchao-{bits}")
    module = convert_pt2e(module.program)
    return deployed(case, without_unused(module), f"XNNPACKQuantizer with ranges of {bits}, trained", lower=False)


class Exported(torch.nn.Module):
    """An exported program that can be told to train and to evaluate, and takes single images (its own batches begin at two)."""

    def __init__(self, program: torch.fx.GraphModule) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> Exported:
        """Moves the program's batch norm; `eval` calls this."""
        self.training = mode
        (move_exported_model_to_train if mode else move_exported_model_to_eval)(self.program)
        return self

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Copies: observers share tensors, which a checkpoint of safetensors refuses."""
        return {name: value.clone() for name, value in super().state_dict(*arguments, **options).items()}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.program(x if len(x) > 1 else torch.cat([x, x]))
        return logits[: len(x)]


def narrow_quantizer(case: Case, bits: str, *, train: bool) -> XNNPACKQuantizer:
    """XNNPACKQuantizer's symmetric recipe with ranges of `bits`, first and last layer at 8 bits.

    Training has a scale a tensor: with one a channel, torch's fused fake quantizer ends the process (a segmentation fault).
    """
    weight, activation = (2 ** (width - 1) for width in WIDTHS[bits])
    narrow = get_symmetric_quantization_config(
        is_per_channel=not train,
        is_qat=train,
        act_qmin=-activation,
        act_qmax=activation - 1,
        weight_qmin=1 - weight,
        weight_qmax=weight - 1,
    )
    first, last = ends(case.module)
    wide = get_symmetric_quantization_config(is_per_channel=not train, is_qat=train)
    return XNNPACKQuantizer().set_global(narrow).set_module_name(first, wide).set_module_name(last, wide)


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
