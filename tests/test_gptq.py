"""GPTQ: its rounding against the elimination it abbreviates, in numpy, and the pass on small networks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clinquant.core.affine import dequantize, quantize
from clinquant.core.graph import Node
from clinquant.lab.quantize.compensation import compensated_rounding, follow
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.on_grids import Params
from clinquant.lab.quantize.passes import GPTQ
from clinquant.lab.quantize.passes.correct_bias import mean_error
from clinquant.lab.quantize.passes.reconstruct import Twins, float_params, images_within
from clinquant.lab.quantize.recipes import begin, run_recipes
from clinquant.lab.quantize.rounding import Problem
from test_exactness import classifier, images
from test_post_training import READY, feature_error, problem


def linear(p: Problem, *, noise: float = 0.0) -> Problem:
    """`p` without its activation, its inputs other than those its target was made from where there is noise."""
    target = torch.baddbmm(p.bias, p.columns, p.weight.transpose(1, 2))
    moved = p.columns + noise * torch.randn(p.columns.shape, generator=torch.Generator().manual_seed(1))
    return replace(p, columns=moved, target=target, activation=lambda x: x)


def oracle(p: Problem, group: int, damping: float) -> NDArray[np.float64]:
    """Optimal brain quantization in a fixed order: the inverse of what is left is found anew for every weight (arXiv 2208.11580, eq. 2)."""
    x, weight, target = (np.asarray(t[group].double()) for t in (p.columns, p.weight, p.target))
    scale = np.asarray(p.scale[group, :, 0].double())
    x, y = x - x.mean(0), target - target.mean(0)
    c = x.T @ x / len(x)
    c += damping * np.trace(c) / len(c) * np.eye(len(c))
    weight = weight + np.linalg.solve(c, x.T @ (y - x @ weight.T) / len(x)).T
    found, left = np.zeros_like(weight), list(np.argsort(-np.diag(c), kind="stable"))
    while left:
        inverse, first = np.linalg.inv(c[np.ix_(left, left)]), left[0]
        found[:, first] = np.clip(np.round(weight[:, first] / scale), p.low, p.high)
        error = weight[:, first] - found[:, first] * scale
        weight[:, left] -= np.outer(error / inverse[0, 0], inverse[0])
        left.pop(0)
    return found


@pytest.mark.parametrize(("groups", "noise"), [(1, 0.0), (1, 0.5), (4, 0.5)])
def test_compensated_rounding_equals_the_elimination(groups: int, noise: float) -> None:
    for seed in range(5):
        p = linear(problem(groups, seed), noise=noise)
        found = compensated_rounding(p).numpy()
        assert np.array_equal(found, np.stack([oracle(p, group, 0.01) for group in range(groups)]))
        assert found.min() >= p.low and found.max() <= p.high


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    p = linear(problem(2), noise=0.5)
    whole = compensated_rounding(p)
    monkeypatch.setattr("clinquant.lab.quantize.compensation.BLOCK", 3)
    assert torch.equal(compensated_rounding(p), whole)


def test_compensated_rounding_is_near_the_best_of_its_neighbours() -> None:
    neighbours = np.array(list(itertools.product((-1, 0, 1), repeat=8)))
    best = ours = nearest = 0.0
    for seed in range(6):
        p = linear(problem(seed=seed))
        variance = np.cov(p.columns[0].double().numpy().T, bias=True)
        for channel, codes in enumerate(compensated_rounding(p)[0].double().numpy()):
            weight, scale = (float64[0, channel].double().numpy() for float64 in (p.weight, p.scale))
            near = p.nearest[0, channel].double().numpy()
            around = near + neighbours
            changes = [found * scale - weight for found in (around[(np.abs(around) <= 3).all(1)], codes, near)]
            errors = [np.einsum("...i,ij,...j->...", change, variance, change).min() for change in changes]
            best, ours, nearest = (total + error for total, error in zip((best, ours, nearest), errors, strict=True))
    assert ours < best + 0.2 * (nearest - best)


def test_weights_follow_what_the_inputs_became() -> None:
    p = linear(problem())
    scaled = replace(p, columns=p.columns * torch.linspace(0.5, 2, 8))
    _, weight = follow(scaled, 1e-9)
    assert torch.allclose(weight, (p.weight / torch.linspace(0.5, 2, 8)).double(), rtol=1e-3, atol=1e-3)
    _, held = follow(scaled, 1e9)
    assert torch.allclose(held, scaled.weight.double(), atol=1e-5)


def test_inputs_that_never_vary_do_no_harm() -> None:
    p = linear(problem())
    silent = replace(p, columns=torch.zeros_like(p.columns))
    assert torch.equal(compensated_rounding(silent), silent.nearest)


@pytest.mark.parametrize("name", ["branches", "plain", "resnet20", "mobilenet_v2"])
def test_the_pass_leaves_codes_and_no_mean_error(name: str) -> None:
    source = classifier(name)
    calibration = Calibration(pixels=images(source.card.preprocess.size, 24, 1), preprocess=source.card.preprocess)
    model = run_recipes(begin(source, "w4a8"), calibration, {"ready": READY})["ready"]
    made = GPTQ()(model, calibration)
    assert feature_error(made, calibration) < 0.5 * feature_error(model, calibration)
    assert made.activations == model.activations and made.weights is model.weights
    assert model.floats is not None
    twins = Twins(made, model.floats, images_within(made, calibration, 512, 1 << 30))
    for node in made.network:
        if node.name in made.weights:
            grid, weight = made.weights[node.name], node.params["weight"]
            assert np.array_equal(weight, dequantize(quantize(weight, grid), grid))

        def checked(target: torch.Tensor, node: Node = node) -> Params:
            error = mean_error(node, twins.seen(node), float_params(node), target)
            assert np.abs(error).max() < 0.02 * float(target.std()) + 1e-6
            return float_params(node)

        twins.advance(node, checked if node.name in made.weights else None)
