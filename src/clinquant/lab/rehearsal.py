"""What becomes of a network later, tried before it is trained: a layer that has no integer form is told at once, not after hours."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.classifier import Classifier
from clinquant.lab.quantize.execute import Executor, normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.trace.trace import trace

IMAGES = 2
"""Batch norm in training needs company."""

TOLERANCE = 1e-3
"""Of the traced network's logits, as a share of the largest: sums in another order differ by far less, a lost layer by far more."""


AWAKE = 0.1
"""What parameters of nought are rehearsed with."""


def rehearse(module: nn.Module, card: Card, *, bits: str = "w8a8") -> Network:
    """Runs the untrained `module` as training will, traces it, and puts a copy on integers, all on pictures of noise; gives what it traced.

    Raises:
        ClinquantError: `arch-broken` when it does not run or does not answer with one finite logit a class; `trace-failed`,
            `operator-unsupported` naming the layer that cannot be made integer.
    """
    module, size = awake(copy.deepcopy(module)), card.preprocess.size
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8)
    images = normalised(pixels, card.preprocess).contiguous()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        logits_of(module.train(), images, card)
        expected = logits_of(module.eval(), images, card)
    network = trace(module, size)
    if not is_traced_whole(network, images, expected):
        raise ClinquantError(
            "trace-failed",
            f"{card.architecture} computes something else than its traced layers do.",
            fix="reshape tensors only to flatten them, and use the layers that docs/methods/architectures.md names.",
        )
    lower(quantize(Classifier(module=module, card=card), pixels, bits=bits, recipes=("minmax",))["minmax"])
    return network


def awake(module: nn.Module) -> nn.Module:
    """`module` with parameters that begin at nought (a class token, the last batch norm of a residual branch) no longer there, in place:
    what they stand before could not be seen.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() and not parameter.any():
                parameter.fill_(AWAKE)
    return module


def is_traced_whole(network: Network, images: Tensor, expected: Tensor) -> bool:
    """Whether the traced network gives the `expected` logits of `images`."""
    try:
        found = Executor(network)(images)
    except (RuntimeError, IndexError):  # a lost reshape: the shapes no longer fit
        return False
    scale = float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=0.0, atol=TOLERANCE * scale)


def logits_of(module: nn.Module, images: Tensor, card: Card) -> Tensor:
    """float32 [n, classes]. Raises ClinquantError `arch-broken`."""
    wanted = (len(images), len(card.classes))
    try:
        logits = module(images)
    except Exception as error:  # a user's code may raise anything
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise ClinquantError(
            "arch-broken",
            f"{card.architecture} does not run on images {list(images.shape)}: {reason}",
            fix="correct the network (all pictures come as RGB; of grey ones x[:, :1] is all there is), or give another --size.",
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        given = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ClinquantError(
            "arch-broken",
            f"{card.architecture} answers {len(images)} images with {given}, expected logits {list(wanted)}.",
            fix="return one tensor with one logit a class, in training and in evaluation.",
        )
    if not logits.isfinite().all():
        broken = next((name for name, tensor in module.state_dict().items() if not tensor.isfinite().all()), None)
        raise ClinquantError(
            "arch-broken",
            f"{card.architecture} answers with numbers that are not finite" + (f": so is {broken}." if broken else "."),
            fix=f"initialise {broken} with finite numbers." if broken else "initialise its layers with smaller weights.",
        )
    return logits.float()
