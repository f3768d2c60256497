"""A horizontal bar whose length is a percentage of its cell, for sizes and times."""

from __future__ import annotations

from clinquant.report.plots.axes import Svg


def bar(value: float, longest: float, file: str, spread: tuple[float, float] | None = None) -> Svg:
    """A bar of `value` where `longest` fills the width; `spread` (lowest, highest) is drawn as a thin line across its end."""
    parts = [f'<rect class="bar {file}" x="0" y="20%" width="{_share(value, longest)}" height="60%"/>']
    if spread is not None:
        low, high = (_share(end, longest) for end in spread)
        parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="50%" y2="50%"/>')
    return Svg(f'<svg class="bars" aria-hidden="true">{"".join(parts)}</svg>')


def _share(value: float, longest: float) -> str:
    return f"{100 * value / longest:.2f}%" if longest > 0 else "0%"
