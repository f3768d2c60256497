"""The reliability diagram: how often a stated confidence was right, float and integer in one frame."""

from __future__ import annotations

from collections.abc import Mapping

from clinquant.evidence.evidence import FILES
from clinquant.evidence.reliability import Bins
from clinquant.report.plots.axes import Frame, Svg
from clinquant.report.plots.series import curve, legend, points
from clinquant.report.wording import rate

SHARE_HEIGHT = 0.2
"""Part of the plot's height that a bin with every case would fill."""


def reliability_plot(bins: Mapping[str, Bins], ece: Mapping[str, float]) -> Svg:
    """Observed accuracy against stated confidence; strokes on the floor show how many of the cases each bin holds."""
    frame = Frame()
    marks = [frame.line([0, 1], [0, 1], "reference"), *(_shares(frame, bins[file], file) for file in FILES)]
    for file in FILES:
        occupied = bins[file].count > 0
        x, y = bins[file].mean_probability[occupied], bins[file].observed[occupied]
        marks += [curve(frame, x, y, file), points(frame, x.tolist(), y.tolist(), file)]
    texts = [f"{file}, ECE {rate(ece[file])}" for file in FILES]
    marks.append(legend(frame, texts, marked=True))
    values = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    return frame.draw(
        marks,
        name=f"Reliability diagram: {texts[0]}; {texts[1]}",
        x_ticks=values,
        y_ticks=values,
        x_label="Stated confidence",
        y_label="Share decided right",
    )


def _shares(frame: Frame, bins: Bins, file: str) -> str:
    floor, total = frame.py(0.0), bins.count.sum()
    strokes = "".join(
        f"M{frame.px(x):.1f} {floor:.1f}V{frame.py(SHARE_HEIGHT * count / total):.1f}"
        for x, count in zip(bins.mean_probability, bins.count, strict=True)
        if count
    )
    return f'<path class="share {file}" d="{strokes}"/>'
