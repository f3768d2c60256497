"""Finds the range of every activation on the calibration images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.execute import Executor
from clinquant.lab.quantize.grids import watch_points
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.observers.histogram import Histogram

FEWEST = 2
"""Calibration images below which nothing can be said of any range."""


PIXELS, LARGEST_BATCH = 8 * 224**2, 64
"""Images computed at once have at most this many pixels together, and are at most this many."""


@dataclass(frozen=True)
class Calibrate:
    """One float pass over the calibration images; memory does not grow with their number.

    Attributes:
        batch: images computed at once; None takes 8 of 224 px, and up to 64 of smaller ones.
    """

    batch: int | None = None

    def batch_of(self, size: int) -> int:
        """Images of `size` pixels computed at once."""
        return self.batch or max(1, min(LARGEST_BATCH, PIXELS // size**2))

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with a histogram for every grid.

        Raises:
            ClinquantError: `pass-order`, `calibration-empty`; `activation-nan`, `range-empty` naming the layer.
        """
        model.needs_folded(by="Calibrate")
        if len(calibration.pixels) < FEWEST:
            count = "is no calibration image" if not len(calibration.pixels) else "is one calibration image, which shows no range"
            raise ClinquantError("calibration-empty", f"there {count}.", fix="give more training images (hundreds are good).")
        points = watch_points(model.network)
        histograms = {grid: Histogram() for grid in points.values()}
        execute, done = Executor(model.network), 0

        def watch(name: str, tensor: torch.Tensor) -> None:
            if name in points:
                try:
                    histograms[points[name]].update(tensor)
                except ClinquantError as error:
                    raise ClinquantError(error.code, f"{name}: {error.message}", fix=error.fix) from error

        for batch in calibration.batches(self.batch_of(calibration.preprocess.size)):
            execute(batch, watch)
            done += len(batch)
            calibration.tell(done, len(calibration.pixels))
        for node in model.network:
            grid = points.get(node.name)
            if grid and histograms[grid].reach == 0.0 and node.op == "constant":
                histograms[grid].update(torch.ones(1))  # a tensor of zeros lies on any grid
            if grid and histograms[grid].reach == 0.0:
                raise ClinquantError(
                    "range-empty",
                    f"{grid}: its output was 0 on every one of the {done} calibration images.",
                    fix="train again (its units are dead), or calibrate on more images.",
                )
        return replace(model, histograms=histograms)
