"""The Kullback-Leibler divergence between two answers, as a term of a loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def divergence(expected: Tensor, logits: Tensor) -> Tensor:
    """KL(expected || logits), nats, mean over images, of logits [n, k] at temperature 1; gradients run to both."""
    return functional.kl_div(functional.log_softmax(logits, 1), functional.log_softmax(expected, 1), reduction="batchmean", log_target=True)
