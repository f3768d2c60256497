"""Lets a network's first layer absorb the normalisation that its published weights expect.

(pixel - 127) / 128 is free in integers (scale 1/128, zero point 127), a mean and deviation a channel are not: on ResNet-18 at 224 px
looking up every pixel took 0.7 of 9 ms. The first convolution is linear, so it can hold the difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from clinquant.core.preprocess import Preprocess

Channels = tuple[float, float, float]


def absorb_normalisation(state: Mapping[str, Tensor], stem: tuple[str, str], mean: Channels, std: Channels) -> dict[str, Tensor]:
    """`state` for inputs (p - 127) / 128, of a `state` for inputs (p - mean) / std; p in grey levels 0 to 255.

    With x = (p - 127) / 128 the old input is x 128 / std + (127 - mean) / std: the factor goes into the convolution's weight, what the
    constant gives into the running mean of the batch norm behind it. Equal everywhere but at the border, where zero padding now
    stands for grey level 127 and stood for `mean`.

    Args:
        state: parameters by name; one that lacks the stem's is returned as it is, for the loader to name what is missing.
        stem: names of the first convolution (no bias) and of its batch norm.
    """
    weight, running = f"{stem[0]}.weight", f"{stem[1]}.running_mean"
    if weight not in state or running not in state or state[weight].shape[1:2] != (3,):
        return dict(state)
    ours = Preprocess(size=8)
    old_std = torch.tensor(std, dtype=torch.float64).view(1, 3, 1, 1)
    kernel = state[weight].double()
    factor = torch.tensor(ours.std, dtype=torch.float64).view(1, 3, 1, 1) / old_std
    shift = (torch.tensor(ours.mean, dtype=torch.float64) - torch.tensor(mean, dtype=torch.float64)).view(1, 3, 1, 1) / old_std
    constant = (kernel * shift).sum((1, 2, 3))
    return {**state, weight: (kernel * factor).float(), running: (state[running].double() - constant).float()}
