"""How the page writes numbers and names: a true minus sign, fixed decimals, and no way for a file name to disguise itself."""

from __future__ import annotations

import unicodedata

from clinquant.evidence.claims import Finding, Verdict

MINUS = "\u2212"
THIN_SPACE = "\u202f"

METRICS = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "recall": "Recall",
}

VERDICTS = {
    Verdict.NON_INFERIOR: "Non-inferior",
    Verdict.INFERIOR: "Inferior",
    Verdict.INCONCLUSIVE: "Inconclusive",
}

THRESHOLDS = {None: "by highest score", "own": "own thresholds", "baseline": "the float file’s threshold for both"}


def rate(value: float | None, decimals: int = 3) -> str:
    """A value in [0, 1] with fixed decimals, a dash where there is none.

    >>> rate(0.98765), rate(None)
    ('0.988', '–')
    """
    return "–" if value is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int = 3) -> str:
    """A difference with its sign; zero has none.

    >>> signed(-0.0123), signed(0.0001), signed(0.02)
    ('−0.012', '0.000', '+0.020')
    """
    if value is None:
        return "–"
    text = f"{abs(value):.{decimals}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+") + text


def whole(value: float) -> str:
    """An integer, from five digits on with narrow spaces between thousands.

    >>> whole(1234567).replace(THIN_SPACE, "_"), whole(1600)
    ('1_234_567', '1600')
    """
    number = round(value)
    return str(number) if abs(number) < 10_000 else f"{number:,}".replace(",", THIN_SPACE)


def percent(value: float, decimals: int = 1) -> str:
    """A share as a percentage; never rounded up to 100% or down to 0%.

    >>> percent(0.99999), percent(1.0), percent(0.5)
    ('99.9%', '100%', '50.0%')
    """
    if value in (0.0, 1.0):
        return f"{value * 100:.0f}%"
    step = 10.0**-decimals
    shown = min(max(value * 100, step), 100 - step)
    return f"{shown:.{decimals}f}%"


def byte_size(size: int) -> str:
    r"""Bytes as they are below a thousand, else as kB or MB (powers of ten) with three significant digits.

    >>> byte_size(13_412_000), byte_size(812_345), byte_size(61)
    ('13.4\u202fMB', '812\u202fkB', '61\u202fbytes')
    """
    if size < 1000:
        return f"{size}{THIN_SPACE}bytes"
    value, unit = (size / 1e6, "MB") if size >= 1e6 else (size / 1e3, "kB")
    return f"{significant(value)}{THIN_SPACE}{unit}"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds with three significant digits."""
    return "–" if value is None else f"{significant(value)}{THIN_SPACE}ms"


def significant(value: float, digits: int = 3) -> str:
    """A positive number with `digits` significant digits and no exponent.

    >>> significant(13.412), significant(812.3), significant(0.04567), significant(1234.5)
    ('13.4', '812', '0.0457', '1234')
    """
    if value == 0:
        return "0"
    magnitude = int(f"{abs(value):e}".partition("e")[2])
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, singular or plural.

    >>> counted(1, "case"), counted(3, "case"), counted(2, "copy", "copies")
    ('1 case', '3 cases', '2 copies')
    """
    return f"{whole(number)} {noun if number == 1 else plural or noun + 's'}"


def plural_unit(unit: str) -> str:
    """The independent unit in the plural.

    >>> plural_unit("patient"), plural_unit("group of copies")
    ('patients', 'distinct pictures')
    """
    return f"{single_unit(unit)}s"


def single_unit(unit: str) -> str:
    """The independent unit for a reader: a group of copies is one picture, however often it was stored."""
    return "distinct picture" if unit == "group of copies" else unit


def metric_name(metric: str) -> str:
    """A metric in the field's words."""
    return METRICS.get(metric, metric.replace("_", " ").capitalize())


def decimals_for(finding: Finding) -> int:
    """Decimals that keep a bound from looking equal to the margin, or on the wrong side of it: 3, at most 6."""
    for decimals in range(3, 6):
        bounds = [bound for bound in (finding.lower, finding.upper) if bound is not None and bound != -finding.margin]
        if all(round(bound, decimals) != round(-finding.margin, decimals) for bound in bounds):
            return decimals
    return 6


def plain(text: object) -> str:
    r"""An untrusted name without control characters or marks that turn the reading direction round.

    >>> plain("scan\u202egpj.exe")
    'scan�gpj.exe'
    """
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") else letter for letter in str(text))
