"""How far single answers can be trusted: probabilities, prediction sets, referral, and which kinds of cases moved."""

from __future__ import annotations

from collections.abc import Sequence

from clinquant.evidence.evidence import FILES, Churn, Conformal, Evidence, Reliability
from clinquant.report.sections.grid import Grid
from clinquant.report.wording import percent, rate, signed, whole

RULES = {
    "lac": "One bound for all classes (LAC)",
    "classwise": "A bound for each class (Mondrian)",
    "aps": "Cumulated probability (APS)",
}

FIGURES = {
    "ece": "Calibration error (ECE), 15 bins",
    "classwise_ece": "Calibration error by class",
    "brier": "Brier score",
    "nll": "Negative log likelihood, nats",
}


def trust(evidence: Evidence) -> tuple[Grid, ...]:
    """Every table that the evidence has figures for, in the order a reader needs them."""
    found = (_probabilities(evidence), _specificity(evidence), _sets(evidence), _referral(evidence))
    return tuple(grid for grid in found if grid is not None)


def churned(evidence: Evidence) -> tuple[Grid, ...]:
    """Flips by class and by decile of the float's confidence; none where the evidence has none."""
    titles = {
        "class": ("Reference standard", "by class"),
        "decile": ("Float’s confidence", "by decile of the float’s confidence, the least sure first"),
    }
    return tuple(_churn(evidence.churn[key], *titles[key]) for key in titles if evidence.churn.get(key) and evidence.flips)


def _churn(rows: Sequence[Churn], stratum: str, by: str) -> Grid:
    return Grid(
        caption=f"Cases decided differently, {by}.",
        columns=(stratum, "Cases", "Lost", "Gained", "Both wrong", "Changed"),
        rows=tuple(
            (
                row.name.capitalize() if row.name.startswith("decile ") else row.name,
                whole(row.cases),
                _count(row.lost),
                _count(row.gained),
                _count(row.other),
                percent((row.lost + row.gained + row.other) / row.cases) if row.cases else "–",
            )
            for row in rows
        ),
    )


def _count(number: int) -> str:
    return whole(number) if number else "·"


def _probabilities(evidence: Evidence) -> Grid | None:
    both = evidence.reliability
    if any(not both[file].before for file in FILES if file in both) or set(FILES) - set(both):
        return None
    rows = tuple((words, *(cell for file in FILES for cell in _before_after(both[file], name))) for name, words in FIGURES.items())
    ours, theirs = both["float"].temperature, both["integer"].temperature
    return Grid(
        caption="Probabilities: lower is better. Before and after the temperature, which was fitted on each file’s own scores on the "
        f"tuning set ({ours:.2f} for float, {theirs:.2f} for integer) and is part of the file; 95% intervals by bootstrap. Calibration "
        "errors of few cases are above zero by chance alone.",
        columns=("", "Float before", "Float", "Interval", "Integer before", "Integer", "Interval"),
        rows=rows,
    )


def _before_after(file: Reliability, name: str) -> tuple[str, str, str]:
    value = {"ece": file.ece, "classwise_ece": file.classwise_ece, "brier": file.brier, "nll": file.nll}[name]
    low, high = file.intervals[name]
    return rate(file.before[name]), rate(value), f"{rate(low)} to {rate(high)}"


def _specificity(evidence: Evidence) -> Grid | None:
    if not evidence.specificity_at:
        return None
    return Grid(
        caption="Specificity at a fixed sensitivity: each file’s threshold moved on the test set to that sensitivity.",
        columns=("Sensitivity", "Float", "Integer", "Difference", "95% interval"),
        rows=tuple(
            (
                f"{row.sensitivity:g}",
                rate(row.baseline),
                rate(row.candidate),
                signed(row.candidate - row.baseline),
                f"{signed(row.lower)} to {signed(row.upper)}",
            )
            for row in evidence.specificity_at
        ),
    )


def _sets(evidence: Evidence) -> Grid | None:
    rules = [row.rule for row in evidence.conformal.get("integer", ())]
    if not rules:
        return None
    found = {(file, row.rule): row for file in FILES for row in evidence.conformal.get(file, ())}
    rows = tuple(_set_row(file, found[file, rule]) for rule in rules for file in FILES if (file, rule) in found)
    one = evidence.conformal["integer"][0]
    return Grid(
        caption=f"Prediction sets that shall hold the true class in {percent(one.wanted, 0)} of cases, calibrated on "
        f"{whole(one.calibrated_on)} cases of the tuning set that chose neither epoch, recipe nor temperature. By size: share of the sets "
        "of that many classes that hold the true one, and how many such sets there are.",
        columns=("Rule", "File", "Coverage", "95% interval", "Classes in a set", "Lowest class", "By size"),
        rows=rows,
        texts=(1, 6),
    )


def _set_row(file: str, row: Conformal) -> tuple[str, ...]:
    worst = min(row.by_class, key=row.by_class.__getitem__)
    sizes = "; ".join(f"{each.size}: {percent(each.covered / each.cases, 0)} of {whole(each.cases)}" for each in row.by_size)
    ends = f"{percent(row.lower)} to {percent(row.upper)}"
    return (RULES[row.rule], file, percent(row.coverage), ends, f"{row.mean_size:.2f}", f"{percent(row.by_class[worst])} ({worst})", sizes)


def _referral(evidence: Evidence) -> Grid | None:
    both = evidence.referral
    if set(FILES) - set(both) or both["integer"].below is None:
        return None
    change = both["integer"].referred - both["float"].referred
    return Grid(
        caption="Referral to a person below a confidence chosen on the tuning set, for each file by itself; the integer file refers "
        f"{abs(100 * change):.1f} percentage points {'less' if change < 0 else 'more'} than the float file.",
        columns=("File", "Refers below", "Referred", "Error of all", "Error of those answered"),
        rows=tuple(
            (
                file.capitalize(),
                rate(each.below),
                percent(each.referred),
                percent(each.error),
                "–" if each.error_kept is None else percent(each.error_kept),
            )
            for file, each in ((file, both[file]) for file in FILES)
        ),
    )
