"""The toolkits, one line each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed

PTQ = ("w8a8", "w4a8", "w4a4")
QAT = ("w4a4", "w2a2")


@dataclass(frozen=True)
class Tool:
    """A toolkit's way of quantizing.

    Attributes:
        module, function: which one of `benchmarks.peers`; imported only where it runs, since the toolkits are heavy.
        package: whose version is written down.
        mode: `ptq` or `qat`.
    """

    module: str
    function: str
    package: str
    mode: str = "ptq"

    @property
    def widths(self) -> tuple[str, ...]:
        """What the table asks for: of the toolkits' defaults 8 bits, which is what they are."""
        return ("w8a8",) if self.function == "defaults" else PTQ if self.mode == "ptq" else QAT

    def load(self) -> Callable[[Case, str], Deployed]:
        """The function."""
        return getattr(importlib.import_module(f"benchmarks.peers.{self.module}"), self.function)  # type: ignore[no-any-return]


TOOLS: dict[str, Tool] = {
    "onnxruntime-default": Tool("onnx_runtime", "defaults", "onnxruntime"),
    "onnxruntime": Tool("onnx_runtime", "best", "onnxruntime"),
    "nncf-default": Tool("nncf_openvino", "defaults", "nncf"),
    "nncf": Tool("nncf_openvino", "best", "nncf"),
    "brevitas-default": Tool("brevitas_layerwise", "defaults", "brevitas"),
    "brevitas": Tool("brevitas_layerwise", "best", "brevitas"),
    "torchao": Tool("torchao_pt2e", "best", "torchao"),
    "ai-edge-quantizer-default": Tool("ai_edge", "defaults", "ai-edge-quantizer"),
    "ai-edge-quantizer": Tool("ai_edge", "best", "ai-edge-quantizer"),
    "clinquant": Tool("ours", "best", "clinquant"),
    "brevitas-qat": Tool("brevitas_layerwise", "trained", "brevitas", "qat"),
    "torchao-qat": Tool("torchao_pt2e", "trained", "torchao", "qat"),
    "nncf-qat": Tool("nncf_openvino", "trained", "nncf", "qat"),
    "clinquant-qat": Tool("ours", "trained", "clinquant", "qat"),
}
"""Name in the table -> what is run."""
