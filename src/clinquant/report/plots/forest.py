"""One row of a forest plot: a difference, its interval and the margin, as SVG whose abscissas are percentages.

So the rows of a table share one scale at any width, and neither text nor markers are stretched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinquant.evidence.claims import Finding
from clinquant.report.plots.axes import Svg, tick_texts, ticks
from clinquant.report.wording import MINUS, signed


@dataclass(frozen=True)
class Scale:
    """The common abscissa of a forest plot, in units of the difference."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Where a difference stands, as a percentage of the width."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"


def forest_scale(findings: Sequence[Finding]) -> Scale:
    """A scale that holds every interval, zero and every margin on both sides of it, with a little air."""
    values = [0.0]
    for finding in findings:
        values += [-finding.margin, finding.margin, *(v for v in (finding.lower, finding.upper, finding.difference) if v is not None)]
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.01
    return Scale(low - air, high + air)


def forest_row(finding: Finding, scale: Scale) -> Svg:
    """The interval as a line with a square at the difference; the zone worse than the margin is shaded."""
    zero, margin = scale.at(0.0), scale.at(-finding.margin)
    parts = [
        f'<rect class="zone" x="0" y="0" width="{margin}" height="100%"/>',
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="0" y2="100%"/>',
        f'<line class="margin" x1="{margin}" x2="{margin}" y1="0" y2="100%"/>',
        *_interval(finding, scale),
    ]
    return Svg(f'<svg class="forest" role="img" aria-label="{_aloud(finding)}">{"".join(parts)}</svg>')


def forest_axis(scale: Scale) -> Svg:
    """The ticks below the last row."""
    values = ticks(scale.low, scale.high, about=4)
    parts = []
    for value, text in zip(values, tick_texts(values), strict=True):
        x = scale.at(value)
        parts.append(
            f'<line class="axis" x1="{x}" x2="{x}" y1="0" y2="5"/><text class="tick" x="{x}" y="17" text-anchor="middle">{text}</text>'
        )
    return Svg(f'<svg class="forest" aria-hidden="true"><line class="axis" x1="0" x2="100%" y1="0.5" y2="0.5"/>{"".join(parts)}</svg>')


def _interval(finding: Finding, scale: Scale) -> list[str]:
    parts = []
    if finding.lower is not None and finding.upper is not None:
        low, high = scale.at(finding.lower), scale.at(finding.upper)
        parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="50%" y2="50%"/>')
        parts += [f'<svg x="{end}" y="50%" class="open"><line class="whisker" x1="0" x2="0" y1="-5" y2="5"/></svg>' for end in (low, high)]
    if finding.difference is not None:
        middle = scale.at(finding.difference)
        parts.append(f'<svg x="{middle}" y="50%" class="open"><rect class="estimate" x="-4.5" y="-4.5" width="9" height="9"/></svg>')
    return parts


def _aloud(finding: Finding) -> str:
    if finding.difference is None:
        return "no difference can be computed"
    bounds = f"from {signed(finding.lower)} to {signed(finding.upper)}"
    return f"difference {signed(finding.difference)}, {bounds}, margin {MINUS}{finding.margin:g}"
