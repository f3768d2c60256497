"""Recipes: tuples of passes by name, and how they are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.lab.classifier import Classifier
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.gates import with_gates
from clinquant.lab.quantize.model import Calibration, Model, Pass
from clinquant.lab.quantize.observers import MSE, Entropy, MinMax, Percentile
from clinquant.lab.quantize.passes import GPTQ, AdaRound, Calibrate, CorrectBias, Equalize, FoldBatchNorm, PutOnGrids, ReconstructBlocks
from clinquant.lab.quantize.target import PORTABLE, Target
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import Widths, widths_of

SEEN = (FoldBatchNorm(), Calibrate())
"""How every recipe after training begins."""

RANGES: dict[str, tuple[Pass, ...]] = {
    "minmax": (*SEEN, PutOnGrids(MinMax())),
    "percentile": (*SEEN, PutOnGrids(Percentile())),
    "mse": (*SEEN, PutOnGrids(MSE())),
    "entropy": (*SEEN, PutOnGrids(Entropy())),
}
"""Recipes that only find ranges: seconds each."""

RECIPES: dict[str, tuple[Pass, ...]] = {
    **RANGES,
    "equalize": (FoldBatchNorm(), Equalize(), Calibrate(), PutOnGrids(MSE())),
    "bias_correction": (*SEEN, PutOnGrids(MSE()), CorrectBias()),
    "gptq": (*SEEN, PutOnGrids(MSE()), GPTQ()),
    "adaround": (*SEEN, PutOnGrids(MSE()), AdaRound()),
    "brecq": (*SEEN, PutOnGrids(MSE()), ReconstructBlocks()),
    "qdrop": (*SEEN, PutOnGrids(MSE()), ReconstructBlocks(drop=0.5)),
}
"""Recipes after training. Their first line in `docs/methods/post-training.md` says what each is for."""


SENTENCES: dict[str, str] = {
    "auto": "Climbs: ranges and GPTQ, then equalization, AdaRound, training, until the exported file decides like the float file on tune.",
    "minmax": "Ranges: everything that was seen.",
    "percentile": "Ranges: all but the rarest values.",
    "mse": "Ranges: least mean squared change.",
    "entropy": "Ranges: least divergence of histograms.",
    "equalize": "Before calibration: neighbouring layers share their ranges out; for depthwise networks.",
    "bias_correction": "After mse: biases take back the mean error of every channel.",
    "gptq": "After mse: rounds weights so that each takes back what those before it changed, and biases what is left.",
    "adaround": "After mse: learns which way to round every weight, layer by layer.",
    "brecq": "After mse: learns rounding and the steps of narrow activations, block by block.",
    "qdrop": "As brecq, with activations left unquantized at random, for 4 bits.",
    "lsq": "Training: learnt step sizes for weights and activations.",
    "lsq+": "Training: as lsq, with a learnt offset of activations.",
    "pact": "Training: learnt clipping levels, DoReFa weights (as published).",
    "pact-lsq": "Training: learnt clipping levels, LSQ weights.",
    "dorefa": "Training: DoReFa weights, moving min-max ranges of activations.",
    "ste": "Training: moving min-max ranges, straight-through gradients.",
}
"""What `--recipe` takes, in a sentence each."""


def before_training(method: str) -> tuple[Pass, ...]:
    """The passes that training by `method`, a key of `METHODS`, goes on from: the nearest network whose grids it keeps, or ranges alone."""
    return RECIPES["gptq" if METHODS[method].keeps_grid else "mse"]


def begin(classifier: Classifier, bits: str, *, widths: Widths | None = None, target: Target = PORTABLE) -> Model:
    """The float network before any pass.

    Args:
        bits: a key of `WIDTHS`, or the name of `widths` where they are given.

    Raises:
        ClinquantError: `bits-unsupported`; `operator-unsupported`, `trace-failed`, `weights-nan`, naming the layer.
    """
    network = with_gates(trace(classifier.module, classifier.card.preprocess.size))
    if not any("weight" in node.params for node in network.nodes[:-1]):
        raise ClinquantError(
            "operator-unsupported", f"{network.output.name} is the only layer.", fix="put a convolution or a hidden layer before it."
        )
    check_finite(network)
    found = widths_of(bits, network) if widths is None else widths
    target.check(found)
    card = replace(classifier.card, bits=bits, target=target.name, portable=target.portable)
    return Model(traced=network, network=network, card=card, target=target, widths=found)


def check_finite(network: Network) -> None:
    """Raises ClinquantError `weights-nan`, naming the first layer with a number that is not finite."""
    for node in network:
        for role, array in node.params.items():
            if not np.isfinite(array).all():
                raise ClinquantError(
                    "weights-nan",
                    f"{node.name}: its {role} is not finite.",
                    fix="train again, with a lower learning rate or another --seed.",
                )


def run_recipes(model: Model, calibration: Calibration, recipes: Mapping[str, tuple[Pass, ...]]) -> dict[str, Model]:
    """What every recipe makes of `model`; passes with which several recipes begin run once. Raises as the passes."""
    made: list[tuple[tuple[Pass, ...], Model]] = [((), model)]
    for passes in recipes.values():
        for end in range(1, len(passes) + 1):
            if all(passes[:end] != known for known, _ in made):
                before = next(found for known, found in made if known == passes[: end - 1])
                made.append((passes[:end], passes[end - 1](before, calibration)))
    return {name: next(found for known, found in made if known == passes) for name, passes in recipes.items()}


def named_recipes(names: tuple[str, ...]) -> dict[str, tuple[Pass, ...]]:
    """The recipes of those names. Raises ClinquantError `recipe-unknown`."""
    for name in names:
        if name not in RECIPES:
            raise ClinquantError("recipe-unknown", f"recipe {name!r} is not known.", fix=f"use auto or one of: {', '.join(RECIPES)}.")
    return {name: RECIPES[name] for name in names}
