"""How the two files look in every plot: the float file a wide pale band, the integer file a thin dark line on top of it.

Where the two agree the thin line runs inside the band, which is what a reader wants to see; no reader has to tell two
hues apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from clinquant.evidence.evidence import FILES
from clinquant.report.plots.axes import Frame


def curve(frame: Frame, x: NDArray[Any], y: NDArray[Any], file: str) -> str:
    """The line of one file."""
    return frame.line(x, y, f"line {file}")


def points(frame: Frame, x: Sequence[float], y: Sequence[float], file: str) -> str:
    """The markers of one file: hollow squares for float, filled circles for integer."""
    return "".join(marker(frame.px(a), frame.py(b), file) for a, b in zip(x, y, strict=True))


def marker(x: float, y: float, file: str) -> str:
    """One marker at SVG coordinates."""
    if file == "float":
        return f'<rect class="point float" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    return f'<circle class="point integer" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'


def legend(frame: Frame, texts: Sequence[str], *, marked: bool = False) -> str:
    """A line sample and words for each file in one row above the plot, where no curve can run through them.

    `texts` follow FILES; `marked` draws the file's marker on the sample.
    """
    parts, level = [], frame.top - 17
    for x, file, text in zip((frame.left, (frame.left + frame.width) / 2), FILES, texts, strict=True):
        parts.append(f'<path class="line {file}" d="M{x:.1f} {level:.1f}h22"/>')
        parts.append(marker(x + 11, level, file) if marked else "")
        parts.append(f'<text class="note" x="{x + 28:.1f}" y="{level + 4:.1f}">{text}</text>')
    return "".join(parts)
