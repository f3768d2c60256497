"""A plotting frame: data to SVG units, with ticks, labels and paths. Colours come from the page's style sheet by class name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from clinquant.report.wording import MINUS


class Svg(str):
    """Markup made by this room from numbers and fixed words; the template prints it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A square or oblong plot in SVG units (one unit is about one CSS pixel).

    Attributes:
        x, y: data limits, low to high.
        width, height: of the whole drawing.
        left, right, top, bottom: room around the plotting area for ticks and labels.
    """

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    width: int = 300
    height: int = 306
    left: int = 44
    right: int = 10
    top: int = 30
    bottom: int = 42

    def px(self, x: float) -> float:
        """SVG abscissa of a data value."""
        return self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - self.left - self.right)

    def py(self, y: float) -> float:
        """SVG ordinate of a data value; SVG counts downwards."""
        return self.height - self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - self.top - self.bottom)

    def line(self, x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64], kind: str) -> str:
        """A polyline through data points, of style `kind`."""
        points = thinned(np.column_stack([np.asarray(x, np.float64), np.asarray(y, np.float64)]))
        path = "L".join(f"{self.px(a):.1f} {self.py(b):.1f}" for a, b in points)
        return f'<path class="{kind}" d="M{path}"/>'

    def label(self, x: float, y: float, text: str, *, anchor: str = "start", kind: str = "note") -> str:
        """Text at a data point."""
        return f'<text class="{kind}" x="{self.px(x):.1f}" y="{self.py(y):.1f}" text-anchor="{anchor}">{escape(text)}</text>'

    def draw(
        self, marks: Iterable[str], *, name: str, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str = "", y_label: str = ""
    ) -> Svg:
        """The finished drawing: grid, ticks and labels below, `marks` above; `name` is read aloud in place of the picture."""
        body = "".join([*self._grid(x_ticks, y_ticks), *self._labels(x_label, y_label), *marks])
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return Svg(f'<svg class="plot" {box} role="img" aria-label="{escape(name, quote=True)}">{body}</svg>')

    def _grid(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> Iterable[str]:
        floor, wall = self.py(self.y[0]), self.px(self.x[0])
        x_texts, y_texts = tick_texts(x_ticks), tick_texts(y_ticks)
        for value, text in zip(x_ticks, x_texts, strict=True):
            x = f"{self.px(value):.1f}"
            yield f'<line class="grid" x1="{x}" x2="{x}" y1="{floor:.1f}" y2="{self.top}"/>'
            yield f'<text class="tick" x="{x}" y="{floor + 15:.1f}" text-anchor="middle">{text}</text>'
        for value, text in zip(y_ticks, y_texts, strict=True):
            y = self.py(value)
            yield f'<line class="grid" x1="{wall:.1f}" x2="{self.width - self.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text class="tick" x="{wall - 6:.1f}" y="{y + 3.7:.1f}" text-anchor="end">{text}</text>'
        yield f'<path class="axis" d="M{wall:.1f} {self.top}V{floor:.1f}H{self.width - self.right}"/>'

    def _labels(self, x_label: str, y_label: str) -> Iterable[str]:
        middle_x = (self.left + self.width - self.right) / 2
        middle_y = (self.top + self.height - self.bottom) / 2
        if x_label:
            yield f'<text class="label" x="{middle_x:.1f}" y="{self.height - 6}" text-anchor="middle">{escape(x_label)}</text>'
        if y_label:
            turn = f'transform="translate(12 {middle_y:.1f}) rotate(-90)"'
            yield f'<text class="label" {turn} text-anchor="middle">{escape(y_label)}</text>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values within [low, high]: steps of 1, 2 or 5 times a power of ten, about `about` of them.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / about
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(power * min((1, 2, 5, 10), key=lambda factor: abs(np.log(factor * power / raw))))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [round(i * step, 10) for i in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Tick labels with as many decimals as the finest needs, and a true minus sign.

    >>> tick_texts([-0.02, 0.0, 0.1])
    ['−0.02', '0.00', '0.10']
    """
    decimals = max((len(f"{value:.6f}".rstrip("0").partition(".")[2]) for value in values), default=0)
    return [f"{value + 0.0:.{decimals}f}".replace("-", MINUS) for value in values]


def thinned(points: NDArray[np.float64], most: int = 400) -> NDArray[np.float64]:
    """At most `most` of the [n, 2] points, ends kept: first without those inside straight runs, then evenly along the path."""
    if len(points) > 2:
        before, after = np.diff(points[:-1], axis=0), np.diff(points[1:], axis=0)
        turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-12
        points = points[np.concatenate([[True], turns, [True]])]
    if len(points) > most:
        length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))])
        points = points[np.unique(np.searchsorted(length, np.linspace(0, length[-1], most)))]
    return points
