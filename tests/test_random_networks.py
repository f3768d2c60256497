"""Networks that nobody chose are exact too: simulation, reference and runtime agree on every code, and so do the two ways to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.exactness import Runtime, differing
from benchmarks.random_networks import ALL, difference, pictures, random_classifier, random_model

from clinquant.core.integer import Conv
from clinquant.core.reference import execute
from clinquant.lab.quantize import convolution
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.settled import Settled
from clinquant.lab.quantize.target import PORTABLE
from test_settle import assert_near, one_step

SEEDS = [seed for seed in range(1000, 1017) if seed != 1014]
"""A tensor of 1014 is 0 on all pictures, which is refused."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_code_is_the_same(seed: int, tmp_path: Path) -> None:
    source = random_classifier(seed)
    model = random_model(source, ALL[seed % len(ALL)], PORTABLE, seed)
    values, runtime, simulation = difference(model, tmp_path)
    assert values > 10_000 and (runtime, simulation) == (0, 0)


@pytest.mark.parametrize("seed", SEEDS[: len(ALL)])
def test_kernels_train_on_as_plain_torch_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of the network as deployed are the same bits, and near where sums are integers; gradients agree within 1e-4 in norm."""
    source = random_classifier(seed)
    module = Settled(random_model(source, ALL[seed % len(ALL)], PORTABLE, seed)).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    x = normalised(pictures(source.card.preprocess.size, 8, 5), source.card.preprocess).contiguous(memory_format=torch.channels_last)
    if module.fused is None:
        pytest.skip("no C++ compiler here")
    monkeypatch.setattr(convolution, "REUSE", 0)
    in_integers, _ = one_step(module, x, half=True)
    seen = []
    for fused in (module.fused, None):
        module.fused = fused
        seen.append(one_step(module, x))
    (found, gradients), (expected, plain) = seen
    assert torch.equal(found, expected) and gradients.keys() == plain.keys()
    assert_near(gradients, plain)
    assert float((in_integers - expected).abs().max()) < 1e-3 * float(expected.abs().max())


def test_one_changed_weight_is_seen(tmp_path: Path) -> None:
    """So that the count of differing codes can fail."""
    program = lower(random_model(random_classifier(1000), "w4a4", PORTABLE, 0).quantized("x"))
    first = next(operator for operator in program.operators if isinstance(operator, Conv))
    weight = first.weight.copy()
    weight.flat[np.abs(weight).argmax()] //= 2
    other = replace(program, operators=tuple(replace(o, weight=weight) if o is first else o for o in program.operators))
    pixels = pictures(program.size, 4, 2)
    compared, unequal = differing(Runtime(other, tmp_path / "other.onnx").tensors(pixels), execute(program, pixels), program)
    assert 0 < unequal < compared
