"""Finds the range of every activation on the calibration images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.execute import Executor
from clinquant.lab.quantize.grids import watch_points
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.observers.histogram import Histogram


@dataclass(frozen=True)
class Calibrate:
    """One float pass over the calibration images; memory does not grow with their number."""

    batch: int = 8

    def __call__(self, model: Model, calibration: Calibration) -> Model:
        """`model` with a histogram for every grid.

        Raises:
            ClinquantError: `pass-order`, `calibration-empty`, `activation-nan` naming the layer.
        """
        model.needs_folded(by="Calibrate")
        if not len(calibration.pixels):
            raise ClinquantError("calibration-empty", "there is no calibration image.", fix="give more training images.")
        points = watch_points(model.network)
        histograms = {grid: Histogram() for grid in points.values()}
        execute, done = Executor(model.network), 0

        def watch(name: str, tensor: torch.Tensor) -> None:
            if name in points:
                try:
                    histograms[points[name]].update(tensor)
                except ClinquantError as error:
                    raise ClinquantError(error.code, f"{name}: {error.message}", fix=error.fix) from error

        for batch in calibration.batches(self.batch):
            execute(batch, watch)
            done += len(batch)
            calibration.tell(done, len(calibration.pixels))
        return replace(model, histograms=histograms)
