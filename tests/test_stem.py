"""A published network and ours, whose first layer absorbed the normalisation, answer alike away from the border."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.stem import absorb_normalisation
from clinquant.lab.weights import initial_weights


@pytest.mark.parametrize("name", [name for name, architecture in ARCHITECTURES.items() if architecture.stem])
def test_the_stem_absorbs_the_published_normalisation(name: str, tmp_path: object) -> None:
    architecture = ARCHITECTURES[name]
    assert architecture.stem is not None
    torch.manual_seed(0)
    published, ours = architecture.build(5).eval(), architecture.build(5).eval()
    state = published.state_dict()
    state[f"{architecture.stem[1]}.running_mean"].normal_()
    torch.save(state, f"{tmp_path}/published.pth")
    initial_weights(architecture, ours, f"{tmp_path}/published.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    old = Preprocess(size=32, mean=architecture.mean, std=architecture.std)
    modules = dict(published.named_modules()), dict(ours.named_modules())
    outputs = []
    for found, preprocess in zip(modules, (old, architecture.preprocess(32)), strict=True):
        x = normalised(pixels, preprocess)
        for part in architecture.stem:
            x = found[part](x)
        outputs.append(x[:, :, 3:-3, 3:-3])
    assert architecture.preprocess(32).is_affine_code
    assert torch.allclose(outputs[0], outputs[1], atol=1e-4)
    assert outputs[0].std() > 0.1


def test_a_state_without_the_stem_is_left_for_the_loader() -> None:
    state = {"fc.weight": torch.zeros(2, 3)}
    assert absorb_normalisation(state, ("conv1", "bn1"), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == state
