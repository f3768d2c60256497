"""Size and latency of the two files as bars on a common scale, and what the runtime computes in integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clinquant.evidence.evidence import FILES, Evidence, IntegerAudit, Latency
from clinquant.report.plots.axes import Svg
from clinquant.report.plots.bars import bar
from clinquant.report.wording import byte_size, milliseconds, percent, significant, whole


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity of both files: a bar, a figure and small print for each, and the ratio."""

    name: str
    rows: tuple[tuple[str, Svg, str, str], ...]
    ratio: str


@dataclass(frozen=True, kw_only=True)
class Integers:
    """What the runtime computes in integers: a sentence, and a row an element type of the integer file's graph as it runs."""

    sentence: str
    rows: tuple[tuple[str, ...], ...]


TYPE_COLUMNS = ("Element type", "Multiply-accumulates", "Tensors", "Weights and constants", "Operators that read it")


def integers(evidence: Evidence) -> Integers | None:
    """Of the integer file; None where it was not audited."""
    audit = evidence.audits.get("integer")
    return None if audit is None else Integers(sentence=integer_sentence(audit), rows=tuple(_type_rows(audit)))


def integer_sentence(audit: IntegerAudit) -> str:
    """Share of the arithmetic that runs in 8-bit integers, as the runtime's own graph has it."""
    if audit.share_int8 is None:
        return "The runtime’s own graph of the integer file holds no multiply-accumulates that could be counted."
    total = sum(kind.macs for kind in audit.types.values())
    left = f" Not counted: {', '.join(audit.uncounted)}." if audit.uncounted else ""
    return (
        f"In the graph that the runtime made of the integer file, {percent(audit.share_int8, 2)} of the multiply-accumulates "
        f"({significant(total / 1e6)} million a picture) run in 8-bit integers.{left}"
    )


def _type_rows(audit: IntegerAudit) -> Iterator[tuple[str, ...]]:
    for name, kind in audit.types.items():
        operators = ", ".join(f"{operator} {count}" for operator, count in kind.operators.items())
        yield (name, whole(kind.macs), whole(kind.tensors), byte_size(kind.constant_bytes), operators)


def measures(evidence: Evidence) -> tuple[Measure, ...]:
    """Bytes, time for one image at the model's size, time for a picture of a megapixel; what was not measured is left out."""
    found = []
    if set(FILES) <= evidence.files.keys():
        sizes = {file: float(evidence.files[file].bytes) for file in FILES}
        found.append(_measure("File on disk", sizes, {file: byte_size(round(size)) for file, size in sizes.items()}, _bytes(sizes)))
    if set(FILES) <= evidence.audits.keys():
        held = {file: float(evidence.audits[file].memory_bytes) for file in FILES}
        shown = {file: byte_size(round(size)) for file, size in held.items()}
        found.append(_measure("Weights and constants in memory, once loaded", held, shown, dict.fromkeys(FILES, "")))
    if set(FILES) <= evidence.latency.keys():
        found.append(_times("One image at the model’s own size", evidence.latency))
        large = {file: evidence.latency[file].megapixel_median_ms for file in FILES}
        known = {file: value for file, value in large.items() if value is not None}
        if len(known) == len(FILES):
            found.append(
                _measure(
                    "One picture of a megapixel, resized inside the file",
                    known,
                    {file: milliseconds(value) for file, value in known.items()},
                    dict.fromkeys(FILES, ""),
                )
            )
    return tuple(found)


def _times(name: str, latency: dict[str, Latency]) -> Measure:
    medians = {file: latency[file].median_ms for file in FILES}
    notes = {
        file: f"{milliseconds(latency[file].minimum_ms)} to {milliseconds(latency[file].maximum_ms)}, {whole(latency[file].runs)} runs"
        for file in FILES
    }
    spreads = {file: (latency[file].minimum_ms, latency[file].maximum_ms) for file in FILES}
    return _measure(name, medians, {file: milliseconds(value) for file, value in medians.items()}, notes, spreads)


def _measure(
    name: str, values: dict[str, float], shown: dict[str, str], notes: dict[str, str], spreads: dict[str, tuple[float, float]] | None = None
) -> Measure:
    longest = max([*values.values(), *(high for _, high in (spreads or {}).values())])
    rows = tuple((file, bar(values[file], longest, file, (spreads or {}).get(file)), shown[file], notes[file]) for file in FILES)
    ratio = f"× {significant(values['integer'] / values['float'])}" if values["float"] else ""
    return Measure(name=name, rows=rows, ratio=ratio)


def _bytes(sizes: dict[str, float]) -> dict[str, str]:
    return {file: f"{whole(size)} bytes" for file, size in sizes.items()}
