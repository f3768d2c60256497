"""Passes that leave no trace in a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call

from clinquant.lab.objectives.objective import Answer


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; every layer is put back in the mode it was in."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def unmoved(module: nn.Module) -> Answer:
    """`module` in the mode it is in, on copies of its buffers: what a pass would move (statistics, ranges) stays where it is."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return lambda x: torch.as_tensor(functional_call(module, buffers, (x,)))
