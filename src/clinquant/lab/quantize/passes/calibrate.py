"""Finds the range of every activation on the calibration images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.core.preprocess import Preprocess
from clinquant.lab.quantize.execute import Executor, normalised
from clinquant.lab.quantize.grids import watch_points
from clinquant.lab.quantize.observers.histogram import Histogram


@dataclass(frozen=True)
class Calibrate:
    """One float pass over the calibration images; memory does not grow with their number."""

    batch: int = 8

    def __call__(
        self,
        network: Network,
        pixels: NDArray[np.uint8],
        preprocess: Preprocess,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Histogram]:
        """Grid name -> what was seen of it, for uint8 [n, s, s, 3] calibration images.

        Raises:
            ClinquantError: `calibration-empty`, `activation-nan` naming the layer.
        """
        if not len(pixels):
            raise ClinquantError("calibration-empty", "there is no calibration image.", fix="give more training images.")
        points = watch_points(network)
        histograms = {grid: Histogram() for grid in points.values()}
        execute = Executor(network)

        def watch(name: str, tensor: torch.Tensor) -> None:
            if name in points:
                try:
                    histograms[points[name]].update(tensor)
                except ClinquantError as error:
                    raise ClinquantError(error.code, f"{name}: {error.message}", fix=error.fix) from error

        for start in range(0, len(pixels), self.batch):
            execute(normalised(pixels[start : start + self.batch], preprocess), watch)
            if progress:
                progress(min(start + self.batch, len(pixels)), len(pixels))
        return histograms
