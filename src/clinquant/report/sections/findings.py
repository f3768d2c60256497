"""The findings as rows of a forest plot: what was claimed, the difference with its interval, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinquant.evidence.claims import Finding, Role, Verdict
from clinquant.report.plots.axes import Svg
from clinquant.report.plots.forest import forest_axis, forest_row, forest_scale
from clinquant.report.wording import MINUS, THRESHOLDS, VERDICTS, decimals_for, metric_name, plural_unit, rate, signed, single_unit, whole

RANGES = (
    (("delong_lower", "delong_upper"), "DeLong’s interval {delong_lower} to {delong_upper}"),
    (("bootstrap_lower", "bootstrap_upper"), "bootstrap alone {bootstrap_lower} to {bootstrap_upper}"),
)
"""Pairs of a finding's further figures, and how they are worded."""

SINGLE = (
    ("lost", "{} lost"),
    ("gained", "{} gained"),
    ("mcnemar_p", "exact McNemar p = {}"),
    ("unseen", "could be lost unseen {}"),
    ("smallest_class_units", "units of the limiting class {}"),
    ("design_effect", "design effect {}"),
    ("smallest_margin", "holds at any margin above {}"),
)
"""Its single figures, and how they are worded."""


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """One finding in words; `class_name` is untrusted text."""

    metric: str
    class_name: str | None
    threshold: str
    baseline: str
    candidate: str
    difference: str
    interval: str
    margin: str
    method: str
    independent: str
    verdict: str
    code: str
    decides: str
    beside: str
    plot: Svg


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Rows on one scale, the axis below them, and how the intervals were computed."""

    rows: tuple[FindingRow, ...]
    axis: Svg
    methods: tuple[str, ...]


def forest(findings: Sequence[Finding]) -> Forest | None:
    """The findings as a forest plot; None when there is none."""
    if not findings:
        return None
    scale = forest_scale(findings)
    rows = tuple(_row(finding, forest_row(finding, scale)) for finding in findings)
    return Forest(rows=rows, axis=forest_axis(scale), methods=_methods(findings))


def by_role(findings: Sequence[Finding], role: Role) -> tuple[Finding, ...]:
    """Those of one role, in their order."""
    return tuple(finding for finding in findings if finding.role == role)


def _row(finding: Finding, plot: Svg) -> FindingRow:
    decimals = decimals_for(finding)
    bounded = finding.lower is not None and finding.upper is not None
    return FindingRow(
        metric=metric_name(finding.metric),
        class_name=finding.class_name,
        threshold=_decision(finding),
        baseline=rate(finding.baseline),
        candidate=rate(finding.candidate),
        difference=signed(finding.difference),
        interval=f"{signed(finding.lower, decimals)} to {signed(finding.upper, decimals)}" if bounded else "no interval",
        margin=f"{MINUS}{finding.margin:g}",
        method=f"{finding.method}, {100 * finding.confidence:g}%",
        independent=f"{whole(finding.n)} {single_unit(finding.unit) if finding.n == 1 else plural_unit(finding.unit)}",
        verdict=VERDICTS[finding.verdict],
        code=finding.verdict.value,
        decides=decides(finding),
        beside=_beside(finding.shown or {}),
        plot=plot,
    )


def _decision(finding: Finding) -> str:
    """How a case is decided, where the metric rests on decisions."""
    return "" if finding.metric == "auc" else THRESHOLDS[finding.threshold]


def decides(finding: Finding) -> str:
    """How many cases would decide an inconclusive claim; nothing for the others."""
    if finding.verdict is not Verdict.INCONCLUSIVE:
        return ""
    unit = plural_unit(finding.unit)
    if finding.needed is None:
        return f"no number of {unit} like these would decide" if finding.n else f"there are no {unit} to decide it"
    about = f"about {whole(finding.needed)} {unit}" + ("" if finding.class_name is None else " of this class")
    return f"{about} would decide; here {whole(finding.n)}"


def _methods(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Each way of computing an interval once, with the metrics it was used for."""
    used: dict[tuple[str, float, str], list[str]] = {}
    for finding in findings:
        names = used.setdefault((finding.method, finding.confidence, finding.unit), [])
        if (name := metric_name(finding.metric)) not in names:
            names.append(name)
    return tuple(
        f"{_listed(names)}: {method}, {100 * confidence:g}% two-sided, each {single_unit(unit)} independent"
        for (method, confidence, unit), names in used.items()
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join([names[0], *(name if name.isupper() else name.lower() for name in names[1:])])


def _beside(shown: Mapping[str, float]) -> str:
    """The figures that do not decide, in words; one this page has no words for is named by its key."""
    left = dict(shown)
    parts = [words.format(**{key: signed(left.pop(key), 4) for key in keys}) for keys, words in RANGES if set(keys) <= left.keys()]
    parts += [words.format(_figure(left.pop(key))) for key, words in SINGLE if key in left]
    return "; ".join([*parts, *(f"{key.replace('_', ' ')} {_figure(value)}" for key, value in left.items())])


def _figure(value: float) -> str:
    return whole(value) if float(value).is_integer() else signed(value, 4).replace("+", "")
