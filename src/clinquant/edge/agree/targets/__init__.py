"""Targets: where a model file can be run for comparison. One file a target, one line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from clinquant.core.errors import ClinquantError

TARGETS: dict[str, str] = {
    "native": "clinquant.edge.agree.targets.native",
    "x86-no-vnni": "clinquant.edge.agree.targets.x86_no_vnni",
    "arm64": "clinquant.edge.agree.targets.arm64",
    "wasm-node": "clinquant.edge.agree.targets.wasm_node",
    "wasm-chromium": "clinquant.edge.agree.targets.wasm_chromium",
}
"""Name -> module with `missing() -> str | None` and `answer(folder, waiting) -> None`."""

Waiting = Callable[[], None]


class Target(Protocol):
    """What the module of a target offers."""

    WEB: bool
    """Whether it takes the file that the tablet app runs in place of the bundle's: widened weights, and integers in float kernels."""

    THREADS: int
    """Of its runtime."""

    def missing(self) -> str | None:
        """What is not installed and how to install it; None where the target can run."""

    def answer(self, folder: Path, waiting: Waiting) -> None:
        """Answers the job in `folder`; calls `waiting` a few times a second. Raises ClinquantError `target-failed`."""


def target_module(name: str) -> Target:
    """The target called `name`. Raises ClinquantError `target-unknown`."""
    if name not in TARGETS:
        raise ClinquantError("target-unknown", f"target {name!r} is not known.", fix=f"use one of: {', '.join(TARGETS)}.")
    module: Target = import_module(TARGETS[name])
    return module
