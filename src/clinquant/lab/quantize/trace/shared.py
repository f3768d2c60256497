"""What both ways of tracing share: names that are free, and torch's values as ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.graph import Node

RESERVED = frozenset({"image", "logits", "class_map", "input"})
"""Names that the exported files use themselves."""

Pads = tuple[int, int, int, int]
"""Zeros above, left of, below and right of a plane."""


def free_name(name: str, nodes: Iterable[Node]) -> str:
    """`name`, with a number behind it where one of `nodes` or the exported file has it already, as of a layer that is called again."""
    taken = {node.name for node in nodes} | RESERVED
    names = (name, *(f"{name}.{count}" for count in range(2, len(taken) + 3)))
    return next(candidate for candidate in names if candidate not in taken)


def array_of(tensor: torch.Tensor) -> NDArray[np.float32]:
    """float32 copy of a tensor."""
    copy: NDArray[np.float32] = tensor.detach().to(torch.float32).cpu().numpy().copy()
    return copy


def pair(values: Any) -> tuple[int, int]:
    """Rows and columns of a setting that torch takes as one number for both, as one in a list, or as two."""
    values = values if isinstance(values, list | tuple) else [values]
    return int(values[0]), int(values[-1])
