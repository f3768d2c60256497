"""Risk against coverage: how the error falls when the least confident cases are referred to a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clinquant.evidence.evidence import FILES
from clinquant.evidence.metrics import RiskCoverage
from clinquant.report.plots.axes import Frame, Svg, ticks
from clinquant.report.plots.series import curve, legend

SETTLED = 0.1
"""Coverage below this is not drawn: the error among the first few cases jumps between 0 and 1 and means nothing."""


def risk_plot(curves: Mapping[str, RiskCoverage]) -> Svg:
    """Error among the cases answered against the share answered, by file."""
    kept = {file: curves[file].coverage >= SETTLED for file in FILES}
    highest = max(float(curves[file].risk[kept[file]].max()) for file in FILES)
    frame = Frame(y=(0.0, _ceiling(highest)), left=56)
    marks = [curve(frame, curves[file].coverage[kept[file]], curves[file].risk[kept[file]], file) for file in FILES]
    marks.append(legend(frame, FILES))
    ends = ", ".join(f"{file} {curves[file].risk[-1]:.3f}" for file in FILES)
    return frame.draw(
        marks,
        name=f"Risk against coverage; error with every case answered: {ends}",
        x_ticks=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        y_ticks=ticks(*frame.y),
        x_label="Share of cases answered",
        y_label="Error among them",
    )


def _ceiling(highest: float) -> float:
    """An axis end above the curve that falls on a tick; at least 0.01."""
    wanted = max(highest * 1.05, 0.01)
    step = ticks(0.0, wanted)[1]
    return float(min(np.ceil(wanted / step - 1e-9) * step, 1.0)) if highest < 0.9 else 1.0
