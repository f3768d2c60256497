"""The ROC curve of one class, float and integer in one frame."""

from __future__ import annotations

from collections.abc import Mapping

from clinquant.evidence.evidence import FILES
from clinquant.evidence.metrics import Roc
from clinquant.report.plots.axes import Frame, Svg
from clinquant.report.plots.series import curve, legend, points
from clinquant.report.wording import rate

TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Point = tuple[float, float]


def roc_plot(curves: Mapping[str, Roc], aucs: Mapping[str, float | None], operating: Mapping[str, Point]) -> Svg:
    """True positive rate against false positive rate, with the AUCs and each file's operating point.

    Args:
        curves, aucs: by file, `float` and `integer`.
        operating: (1 - specificity, sensitivity) at the file's own threshold; empty where there is none.
    """
    frame = Frame()
    marks = [_chance(frame), *(curve(frame, c.false_positive_rate, c.true_positive_rate, file) for file, c in _in_order(curves))]
    marks += [points(frame, [operating[file][0]], [operating[file][1]], file) for file in FILES if file in operating]
    texts = [f"{file}, AUC {rate(aucs[file])}" for file in FILES]
    marks.append(legend(frame, texts, marked=bool(operating)))
    return frame.draw(
        marks,
        name=f"ROC curves: {texts[0]}; {texts[1]}",
        x_ticks=TICKS,
        y_ticks=TICKS,
        x_label="1 − specificity",
        y_label="Sensitivity",
    )


def small_roc_plot(curves: Mapping[str, Roc], aucs: Mapping[str, float | None]) -> Svg:
    """The same without a legend, for one panel of a row of classes."""
    frame = Frame(width=190, height=178, left=30, right=8, top=8, bottom=24)
    marks = [_chance(frame), *(curve(frame, c.false_positive_rate, c.true_positive_rate, file) for file, c in _in_order(curves))]
    name = "ROC curves: " + "; ".join(f"{file}, AUC {rate(aucs[file])}" for file in FILES)
    return frame.draw(marks, name=name, x_ticks=(0.0, 0.5, 1.0), y_ticks=(0.0, 0.5, 1.0))


def _in_order(curves: Mapping[str, Roc]) -> list[tuple[str, Roc]]:
    return [(file, curves[file]) for file in FILES]


def _chance(frame: Frame) -> str:
    return frame.line([0, 1], [0, 1], "reference")
