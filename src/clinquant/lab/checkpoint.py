"""A checkpoint: all tensors and counters of a training run in one safetensors file, replaced as a whole.

A run that is killed at any moment leaves the last whole checkpoint; nothing else needs to be kept, because all randomness
is a function of seed and step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clinquant.core.artifact import replacing

NAME = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        key: hash of plan, data and initial weights; a checkpoint of another key is not ours.
        progress: counters and history, plain JSON.
        tensors: all state, by name.
    """

    key: str
    progress: dict[str, Any]
    tensors: dict[str, Tensor]

    def write(self, folder: Path) -> None:
        """Replaces the checkpoint in `folder` atomically."""
        metadata = {"key": self.key, "progress": json.dumps(self.progress)}
        with replacing(folder / NAME) as temporary:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}, temporary, metadata)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`; None when there is none or it cannot be read. Temporary files of killed runs are removed."""
    for leftover in folder.glob(f".{NAME}.*"):
        leftover.unlink(missing_ok=True)
    try:
        with safe_open(folder / NAME, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return Checkpoint(key=metadata["key"], progress=json.loads(metadata["progress"]), tensors=tensors)
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with `prefix.` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def beneath(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
