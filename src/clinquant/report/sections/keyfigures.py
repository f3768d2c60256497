"""The table a reader looks for first: each figure of the float file beside the integer file's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence, Pair
from clinquant.report.wording import byte_size, metric_name, milliseconds, percent, rate, signed, significant, whole


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row: a name, the two values, what the change is, and a note in small print."""

    name: str
    baseline: str
    candidate: str
    change: str
    note: str = ""
    class_name: str | None = None


def key_figures(evidence: Evidence) -> tuple[Figure, ...]:
    """Discrimination, thresholds, calibration, size and time, in that order; rows without a value are left out."""
    return (*discrimination(evidence), *_calibration(evidence), *_cost(evidence))


def discrimination(pair: Evidence | Pair) -> tuple[Figure, ...]:
    """AUC, accuracy, sensitivity and specificity as the findings have them, then the thresholds and the agreement."""
    found = [_metric(finding) for finding in _headline(pair)]
    return (*found, *_thresholds(pair), _agreement(pair))


def _headline(pair: Evidence | Pair) -> list[Finding]:
    """The first finding of each headline metric; one about a class only for sensitivity and specificity."""
    first: dict[str, Finding] = {}
    for finding in pair.findings:
        general = finding.class_name is None or finding.metric in ("sensitivity", "specificity")
        if general and finding.threshold != "baseline":
            first.setdefault(finding.metric, finding)
    return [first[metric] for metric in ("auc", "accuracy", "sensitivity", "specificity") if metric in first]


def _metric(finding: Finding) -> Figure:
    return Figure(
        name=metric_name(finding.metric),
        class_name=finding.class_name,
        baseline=rate(finding.baseline),
        candidate=rate(finding.candidate),
        change=signed(finding.difference),
    )


def _thresholds(pair: Evidence | Pair) -> list[Figure]:
    ours, theirs = pair.operating_points.get("float"), pair.operating_points.get("integer")
    if ours is None or theirs is None or ours.threshold is None or theirs.threshold is None:
        return []
    note = f"on the probability of the positive class, by the rule “{theirs.rule}” on the tuning set"
    return [
        Figure(
            name="Threshold",
            baseline=rate(ours.threshold),
            candidate=rate(theirs.threshold),
            change=signed(theirs.threshold - ours.threshold),
            note=note,
        )
    ]


def _agreement(pair: Evidence | Pair) -> Figure:
    note = f"{whole(len(pair.flips))} of {whole(pair.test.images)} test images decided differently"
    return Figure(name="Same decision", baseline="", candidate=percent(pair.agreement), change="", note=note)


def _calibration(evidence: Evidence) -> list[Figure]:
    both = evidence.reliability
    if "float" not in both or "integer" not in both:
        return []
    ours, theirs = both["float"], both["integer"]
    note = f"15 bins; before the temperature {rate(ours.ece_before)} and {rate(theirs.ece_before)}"
    rows = [("Calibration error (ECE)", ours.ece, theirs.ece, note), ("Brier score", ours.brier, theirs.brier, "")]
    return [
        Figure(name=name, baseline=rate(before), candidate=rate(after), change=signed(after - before), note=note)
        for name, before, after, note in rows
    ]


def _cost(evidence: Evidence) -> list[Figure]:
    rows = []
    if {"float", "integer"} <= evidence.files.keys():
        rows.append(_ratio("File", evidence.files["float"].bytes, evidence.files["integer"].bytes, lambda size: byte_size(int(size))))
    if {"float", "integer"} <= evidence.latency.keys():
        ours, theirs = evidence.latency["float"].median_ms, evidence.latency["integer"].median_ms
        rows.append(_ratio("Time for one image", ours, theirs, milliseconds, "median of the whole file, one thread"))
    return rows


def _ratio(name: str, before: float, after: float, shown: Callable[[float], str], note: str = "") -> Figure:
    change = f"× {significant(after / before)}" if before else ""
    return Figure(name=name, baseline=shown(before), candidate=shown(after), change=change, note=note)
