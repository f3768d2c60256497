"""The plots of a study as SVG files that stand beside its page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from clinquant.report.plots.axes import Frame, ticks

Point = tuple[float, float]

STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#222}.tick,.note{fill:#555}.grid{stroke:#ddd}.axis{stroke:#222;fill:none}"
    ".front{stroke:#3c78d8;fill:none;stroke-width:1.5}.on{fill:#3c78d8}.off{fill:#b9b9b9}"
)
FRAME = {"width": 640, "height": 380, "left": 60, "right": 130, "top": 16, "bottom": 44}


def pareto_plot(points: Mapping[str, Point], front: set[str], title: str) -> str:
    """Accuracy against kilobytes (logarithmic) of every file; those that no smaller or better file beats are joined.

    Args:
        points: name -> (bytes, accuracy).
        front: the names on the front.
    """
    sizes, rights = ([point[axis] for point in points.values()] for axis in (0, 1))
    x = math.log10(min(sizes) / 1e3) - 0.1, math.log10(max(sizes) / 1e3) + 0.1
    room = max(0.01, 0.08 * (max(rights) - min(rights)))
    frame = Frame(x=x, y=(min(rights) - room, max(rights) + room), **FRAME)
    placed = {name: (math.log10(size / 1e3), right) for name, (size, right) in points.items()}
    joined = sorted(placed[name] for name in front)
    marks = [frame.line([point[0] for point in joined], [point[1] for point in joined], "front")] if len(joined) > 1 else []
    for name, (size, right) in placed.items():
        cx, cy = frame.px(size), frame.py(right)
        marks.append(f'<circle class="{"on" if name in front else "off"}" cx="{cx:.1f}" cy="{cy:.1f}" r="4"/>')
        marks.append(f'<text class="note" x="{cx + 7:.1f}" y="{cy + 3.5:.1f}">{escape(name)}</text>')
    round_sizes = (value * 10**power for power in range(6) for value in (1, 2, 5))
    marks += [_under(frame, kilobytes) for kilobytes in round_sizes if x[0] <= math.log10(kilobytes) <= x[1]]
    drawing = frame.draw(marks, name=title, x_ticks=[], y_ticks=ticks(*frame.y), x_label="kB", y_label="accuracy")
    return _alone(str(drawing), frame)


def _under(frame: Frame, kilobytes: int) -> str:
    x, floor = frame.px(math.log10(kilobytes)), frame.py(frame.y[0])
    return f'<text class="tick" x="{x:.1f}" y="{floor + 15:.1f}" text-anchor="middle">{kilobytes}</text>'


def _alone(drawing: str, frame: Frame) -> str:
    """A drawing of the report as a file of its own: with its name space, size, ground and styles."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width}" height="{frame.height}" '
    body = drawing.replace("<svg ", head, 1)
    start = body.index(">") + 1
    return f'{body[:start]}<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{body[start:]}\n'
