"""Post-training quantization: from a float classifier and calibration images to a quantized network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clinquant.core.progress import Progress
from clinquant.lab.classifier import Classifier
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RANGES, begin, named_recipes, run_recipes
from clinquant.lab.quantize.target import PORTABLE, Target
from clinquant.lab.quantize.widths import Widths


def quantize(
    classifier: Classifier,
    calibration: NDArray[np.uint8],
    *,
    bits: str = "w8a8",
    recipes: tuple[str, ...] = tuple(RANGES),
    widths: Widths | None = None,
    target: Target = PORTABLE,
    progress: Progress | None = None,
) -> dict[str, QuantizedNetwork]:
    """A quantized network a recipe, all from one float pass over the calibration images.

    Args:
        calibration: uint8 [n, size, size, 3], the network's input pixels of training images.
        bits: a key of `WIDTHS`, or the name of `widths` where they are given.
        recipes: keys of `recipes.RECIPES`.

    Raises:
        ClinquantError: `bits-unsupported`, `recipe-unknown`, `operator-unsupported`, `calibration-empty`, `activation-nan`.
    """
    images = Calibration(pixels=calibration, preprocess=classifier.card.preprocess, progress=progress)
    passes = named_recipes(recipes)
    model = begin(classifier, bits, widths=widths, target=target)
    return {name: made.quantized(name) for name, made in run_recipes(model, images, passes).items()}
