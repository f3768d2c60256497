"""Runtimes: software that executes a model file. One file a runtime, one line here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from clinquant.core.errors import ClinquantError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNTIMES: dict[str, str] = {
    "onnxruntime": "clinquant.edge.runtimes.onnxruntime",
}
"""Name -> module with `load(path, threads, optimise=True) -> Session` and `version() -> str`."""


class Outputs(NamedTuple):
    """What a model file answers: `logits` float32 [n, k]; `class_map` float32 [n, k, h, w] or None; `pixels`, what the network read after
    resizing, uint8 [n, size, size, 3], or None.
    """

    logits: NDArray[np.float32]
    class_map: NDArray[np.float32] | None
    pixels: NDArray[np.uint8] | None = None


class Session(Protocol):
    """A loaded model file."""

    @property
    def runtime(self) -> str:
        """Name and version."""

    def run(self, images: NDArray[np.uint8]) -> Outputs:
        """Outputs for uint8 RGB images [n, h, w, 3], any h and w."""


class RuntimeModule(Protocol):
    """What the module of a runtime offers."""

    def load(self, path: Path, threads: int, *, optimise: bool = True) -> Session:
        """Opens a model file; without `optimise` its graph is run as it is written."""

    def version(self) -> str:
        """Name and version, without opening anything."""


def runtime_module(name: str) -> RuntimeModule:
    """The runtime called `name`. Raises ClinquantError `runtime-unknown`."""
    if name not in RUNTIMES:
        raise ClinquantError("runtime-unknown", f"runtime {name!r} is not known.", fix=f"use one of: {', '.join(RUNTIMES)}.")
    module: RuntimeModule = import_module(RUNTIMES[name])
    return module
