"""The page of a study: tables and plots that a person reads, made from its rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from clinquant.lab.study.plots import pareto_plot
from clinquant.lab.study.ways import WAYS

Row = Mapping[str, Any]

SAID = {
    "float": "float",
    "sgt": "SGT (float)",
    "ptq": "PTQ",
    "lsq": "QAT, LSQ",
    "pact": "QAT, PACT",
    "sgt+lsq": "SGT + QAT",
    "lsq+ap": "QAT + attribution preserved",
}
"""A way in the paper's words."""

HEAD = """# The paper's study

Written from `{table}` by

```text
{command}
```

Every figure is of an exported file on the locked test set, read once a row, at its end. Differences and intervals are paired, by
patient or group of copies, 95%; the margin is .02. One row of the table is one network; here rows of several seeds are averaged, and
intervals are the widest of the seeds': a seed's own stand in the table. SGT is saliency-guided training (arXiv 2111.14338), QAT
quantization-aware training, PTQ rounding after training.
"""


def page(rows: Sequence[Row], command: str, table: str = "study.csv") -> str:
    """The page as Markdown; its plots are `plots`, files beside it."""
    parts = [HEAD.format(table=table, command=command)]
    for name in dict.fromkeys(str(row["set"]) for row in rows):
        parts += section(name, [row for row in rows if row["set"] == name])
    return "\n".join(parts)


def section(name: str, rows: Sequence[Row]) -> Iterable[str]:
    """What one data set shows."""
    seeds = sorted({str(row["seed"]) for row in rows})
    yield f"## {name}\n"
    yield f"{rows[0]['test_images']} test images, {rows[0]['test_units']} independent; seeds {', '.join(seeds)}.\n"
    yield "### Decisions, bytes, time\n"
    yield grid(rows, DECISIONS)
    yield "### Fidelity: how far explanations moved, as a fraction of what another seed moves them\n"
    yield (
        "0 is no change, 1 is the noise floor; guided networks after quantization are measured from the guided float network. In brackets "
        "the 95% interval by patient.\n"
    )
    yield grid(rows, FIDELITY)
    yield "### What an explanation is worth: insertion (more is better), deletion (less), sparsity (Gini)\n"
    yield "The mean, then its change from the float network it came from, image by image, with the 95% interval.\n"
    yield grid(rows, WORTH)
    yield "### Guidance and attribution preservation against plain training at the same width\n"
    yield (
        "Gain in insertion, in sparsity, and in nearness to the maps of the float network it came from (Spearman), image by image; a gain "
        "whose interval lies above 0 is one.\n"
    )
    yield grid([row for row in rows if str(row["way"]) in ("sgt", "sgt+lsq", "lsq+ap")], GAINS)
    yield "### Accuracy against bytes\n"
    yield front(rows)


def grid(rows: Sequence[Row], columns: Mapping[str, Callable[[Sequence[Row]], str]]) -> str:
    """A table: a line a way and width, seeds together."""
    if not rows:
        return "No rows yet.\n"
    lines = ["| network | bits | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for way, bits in ordered(rows):
        group = [row for row in rows if (row["way"], row["bits"]) == (way, bits)]
        lines.append(f"| {SAID[way]} | {bits} | " + " | ".join(column(group) for column in columns.values()) + " |")
    return "\n".join(lines) + "\n"


def ordered(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Ways and widths: float first, then the widest, in the order of `WAYS`."""
    widths = ("float", "w8a8", "w4a4", "w42", "w2a2")
    found = {(str(row["way"]), str(row["bits"])) for row in rows}
    return sorted(found, key=lambda pair: (widths.index(pair[1]) if pair[1] in widths else len(widths), list(WAYS).index(pair[0])))


def numbers(rows: Iterable[Row], name: str) -> list[float]:
    """The values of a column that are there."""
    return [float(row[name]) for row in rows if row.get(name) not in (None, "")]


def mean(name: str, decimals: int = 3) -> Callable[[Sequence[Row]], str]:
    """A column: the mean of `name`."""
    return lambda rows: f"{fmean(found):.{decimals}f}" if (found := numbers(rows, name)) else ""


def estimate(name: str, decimals: int = 2) -> Callable[[Sequence[Row]], str]:
    """A column: the mean of `name` and the widest interval of the seeds'."""

    def text(rows: Sequence[Row]) -> str:
        values, lower, upper = (numbers(rows, f"{name}{end}") for end in ("", "_lower", "_upper"))
        return f"{fmean(values):.{decimals}f} [{min(lower):.{decimals}f}, {max(upper):.{decimals}f}]" if values else ""

    return text


def worth(name: str) -> Callable[[Sequence[Row]], str]:
    """A column: the mean of `name`, and its change from the float network it came from with the widest interval."""

    def text(rows: Sequence[Row]) -> str:
        value, change = mean(name)(rows), estimate(f"{name}_change", 3)(rows)
        return f"{value}; {change}" if change and rows[0]["way"] != "float" else value

    return text


def difference(metric: str) -> Callable[[Sequence[Row]], str]:
    """A column: a metric less the plain float file's, its widest interval, and the verdicts."""

    def text(rows: Sequence[Row]) -> str:
        apart = [float(row[metric]) - float(row[f"float_{metric}"]) for row in rows]
        lower, upper = numbers(rows, f"{metric}_lower"), numbers(rows, f"{metric}_upper")
        verdicts = ", ".join(dict.fromkeys(str(row[f"{metric}_verdict"]).lower().replace("_", "-") for row in rows))
        return f"{fmean(apart):+.3f} [{min(lower):+.3f}, {max(upper):+.3f}] {verdicts}"

    return text


DECISIONS: dict[str, Callable[[Sequence[Row]], str]] = {
    "accuracy": mean("accuracy"),
    "less float's": difference("accuracy"),
    "AUC": mean("auc"),
    "less float's ": difference("auc"),
    "bytes": mean("bytes_ratio"),
    "time": mean("ms_ratio", 2),
    "seeds": lambda rows: str(len(rows)),
}
"""Bytes and time are over the float file's, time in one process."""

FIDELITY: dict[str, Callable[[Sequence[Row]], str]] = {
    f"{said}, {metric}": estimate(f"{method}_{metric}_fraction")
    for method, said in (("class_map", "class map"), ("gradient", "gradient"))
    for metric in ("spearman", "ssim", "top_iou")
}

WORTH: dict[str, Callable[[Sequence[Row]], str]] = {
    f"{said}, {metric}": worth(f"{method}_{metric}")
    for method, said in (("class_map", "class map"), ("gradient", "gradient"))
    for metric in ("insertion", "deletion", "gini")
}

GAINS: dict[str, Callable[[Sequence[Row]], str]] = {
    "over": lambda rows: SAID[str(rows[0]["against"])],
    **{
        f"{said}, {metric}": estimate(f"{method}_{metric}_gain", 3)
        for method, said in (("class_map", "class map"), ("gradient", "gradient"))
        for metric in ("insertion", "gini", "spearman")
    },
}


def front(rows: Sequence[Row]) -> str:
    """Accuracy against bytes: the files that no smaller file beats in words, and the place of the plot of all."""
    means, best = means_of(rows), front_of(rows)
    names = ", ".join(f"{name} ({means[name][1]:.3f}, {means[name][0] / 1e3:.0f} kB)" for name in sorted(best, key=means.__getitem__))
    return f"On the Pareto front: {names}.\n\n![accuracy against bytes]({plot_name(str(rows[0]['set']))})\n"


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> SVG, a data set each."""
    found = {}
    for name in dict.fromkeys(str(row["set"]) for row in rows):
        chosen = [row for row in rows if row["set"] == name]
        found[plot_name(name)] = pareto_plot(means_of(chosen), front_of(chosen), f"{name}: accuracy against bytes")
    return found


def plot_name(name: str) -> str:
    """The file of a data set's plot."""
    return f"study-{name}.svg"


def means_of(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Network -> (bytes, accuracy), the mean of the seeds."""
    groups = {pair: [row for row in rows if (row["way"], row["bits"]) == pair] for pair in ordered(rows)}
    return {
        f"{SAID[way]} {bits}" if bits != "float" else SAID[way]: (fmean(numbers(group, "bytes")), fmean(numbers(group, "accuracy")))
        for (way, bits), group in groups.items()
    }


def front_of(rows: Sequence[Row]) -> set[str]:
    """The networks that none of fewer bytes and no less accuracy beats."""
    means = means_of(rows)
    return {name for name, (size, right) in means.items() if not _beaten(size, right, means.values())}


def _beaten(size: float, right: float, others: Iterable[tuple[float, float]]) -> bool:
    return any(bytes_ <= size and accuracy >= right and (bytes_, accuracy) != (size, right) for bytes_, accuracy in others)
