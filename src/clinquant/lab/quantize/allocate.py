"""Shares a budget of bytes out over layers: the widths of least total loss, exactly, by dynamic programming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CELLS = 4096
"""Steps that the budget is counted in; a layer's bytes are rounded up to them, so that a budget is never exceeded."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One pair of widths for a layer.

    Attributes:
        weight, activation: bits.
        bytes: of the layer's weights at that width.
        loss: what it costs when no other layer is narrowed; additive over layers by assumption (Wu et al. 2018, arXiv 1812.00090).
    """

    weight: int
    activation: int
    bytes: int
    loss: float


def allocate(options: Mapping[str, Sequence[Option]], budget: int) -> dict[str, Option] | None:
    """The option of every layer for which the sum of losses is least and that of bytes at most `budget`; None where none fits.

    >>> small, large = Option(weight=4, activation=8, bytes=10, loss=0.5), Option(weight=8, activation=8, bytes=20, loss=0.0)
    >>> chosen = allocate({"a": (small, large), "b": (Option(weight=4, activation=8, bytes=10, loss=0.1), large)}, 30)
    >>> {name: option.weight for name, option in chosen.items()}
    {'a': 8, 'b': 4}
    """
    if budget < 0:
        return None
    cell = max(1, -(-budget // CELLS))
    least = np.zeros(budget // cell + 1)
    choices = []
    for layer in options.values():
        costs = np.full((len(layer), len(least)), np.inf)
        for row, option in enumerate(layer):
            width = -(-option.bytes // cell)
            if width < len(least):
                costs[row, width:] = least[: len(least) - width] + option.loss
        choices.append(costs.argmin(axis=0))
        least = costs.min(axis=0)
    if not np.isfinite(least[-1]):
        return None
    chosen, room = {}, len(least) - 1
    for (name, layer), choice in reversed(list(zip(options.items(), choices, strict=True))):
        chosen[name] = layer[int(choice[room])]
        room -= -(-chosen[name].bytes // cell)
    return {name: chosen[name] for name in options}
