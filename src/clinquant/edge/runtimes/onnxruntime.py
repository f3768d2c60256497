"""ONNX Runtime on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.edge.runtimes import Outputs


class OnnxRuntimeSession:
    """A model file opened by ONNX Runtime; the caller has checked its hash."""

    def __init__(self, path: Path, threads: int = 1, *, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads of one session slow whatever runs beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the binding raises bare RuntimeErrors of many kinds
            raise ClinquantError(
                "model-unreadable", f"ONNX Runtime cannot open {path} ({str(error).splitlines()[0]}).", fix="export the model again."
            ) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def runtime(self) -> str:
        """Name and version."""
        return version()

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """Outputs for uint8 RGB images [n, h, w, 3]."""
        answers = dict(zip(self._outputs, self._session.run(None, {"image": np.ascontiguousarray(images)}), strict=True))
        return Outputs(answers["logits"], answers.get("class_map"), answers.get("pixels"))


def load(path: Path, threads: int = 1, *, optimise: bool = True) -> OnnxRuntimeSession:
    """Opens a model file; without `optimise` its graph is run as it is written. Raises ClinquantError `model-unreadable`."""
    return OnnxRuntimeSession(path, threads, optimise=optimise)


def version() -> str:
    """Name and version."""
    return f"onnxruntime {onnxruntime.__version__}"
