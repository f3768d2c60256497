"""The page of the peers' table: every number in it comes from the CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

Row = Mapping[str, Any]
OURS = "clinquant"
SIMULATED = "simulated"
BITS = ("w8a8", "w4a8", "w4a4", "w2a2")


def page(rows: list[dict[str, Any]]) -> str:
    """Markdown: a table a width and mode, and cell by cell how ours stands to the best peer."""
    parts = [HEAD.format(cells=len({cell(row) for row in rows}), versions=versions(rows))]
    for mode, title in (("ptq", "After training"), ("qat", "With training")):
        for bits in BITS:
            found = [row for row in rows if row["mode"] == mode and row["bits"] == bits]
            if found:
                integer = [row for row in found if not str(row.get("runtime")).endswith(SIMULATED)]
                parts += [f"## {title}, {bits.upper()}\n", means(found), against_best(found, "peer"), reasons(found)]
                parts += [against_best(integer, "peer that computes in integers")] if len(integer) < len(found) else []
    return "\n".join(part for part in parts if part)


HEAD = """# Peers

The same trained float networks, the same calibration images and the same test images through every toolkit, each exported and run on its
own runtime: {cells} baselines of `benchmarks/floats.py`. Written by

    python -m benchmarks.peers --runs runs --work work --out benchmarks/results/peers.csv
    python -m benchmarks.peers --runs runs --work work --out benchmarks/results/peers.csv --page docs/peers.md

from [the rows](../benchmarks/results/peers.csv). {versions}.

Differences are candidate minus float file. *Agreement* is the share of test images on which the candidate decides as the float file.
`-default` is a toolkit with nothing but model and images given; without it, the best of the recipes that its documentation names, chosen
on tune by the divergence from the float file's probabilities, as ours is, of what `--recipe auto` could take without training. Our rows
after training were made after the others'. With training every toolkit's network learns in our loop (`benchmarks/peers/training.py`): the
same images, views, float network as teacher, and batch norm statistics, at a rate of .001, which its documentation leaves to the user; ours
is `--recipe lsq`, which starts from GPTQ, has a lower rate at 4 bits and three tenths more epochs, as deployed. torchao's training is
left out for its time.
First and last layer keep 8 bits where a toolkit can say so. NNCF has no 4-bit depthwise layers on any target; they stay float there.
*Simulated* means that most multiply-accumulates are done in float between the grids: of a file for ONNX Runtime that is asked of the
runtime's own optimised graph (layers whose sums have no grid of their own stay float in it), of others their documentation says it.
Means are over the baselines that every toolkit of a table answered; the CSV and the comparison below each table have all.
The best peer is another one for every baseline and every metric. *Within our interval*: its figure lies below the upper end of the
95% interval of ours, paired with the float file by patient.
"""


def versions(rows: Iterable[Row]) -> str:
    """Every toolkit with its version."""
    return ", ".join(sorted({f"{row['tool'].removesuffix('-default').removesuffix('-qat')} {row['version']}" for row in rows}))


def cell(row: Row) -> tuple[str, ...]:
    """The float baseline a row is about."""
    return str(row["set"]), str(row["arch"]), str(row["seed"])


def number(row: Row, name: str) -> float | None:
    """A figure of the row, None where there is none."""
    return float(row[name]) if row.get(name) not in (None, "") else None


def change(metric: str) -> Callable[[Row], float | None]:
    """Candidate minus float of a metric."""

    def of(row: Row) -> float | None:
        after, before = number(row, metric), number(row, f"float_{metric}")
        return None if after is None or before is None else after - before

    return of


def means(rows: list[Row]) -> str:
    """A line a toolkit: means over the baselines that all toolkits here answered for; none where there is none such."""
    lines = [
        "| toolkit | baselines | AUC | accuracy | agreement | worst agreement | bytes of float | runtime |",
        "| --- | --: | --: | --: | --: | --: | --: | --- |",
    ]
    whole = by_tool(row for row in rows if not row.get("failed"))
    common = set.intersection(*({cell(row) for row in found} for found in whole.values())) if whole else set()
    answered = {tool: [row for row in found if cell(row) in common] for tool, found in whole.items()} if common else {}
    for tool, found in sorted(answered.items(), key=lambda item: -mean(item[1], lambda row: number(row, "agreement"))):
        figures = [f"{mean(found, change('auc')):+.4f}", f"{mean(found, change('accuracy')):+.4f}"]
        agreements = [number(row, "agreement") or 0.0 for row in found]
        figures += [f"{np.mean(agreements):.4f}", f"{min(agreements):.4f}", f"{mean(found, lambda row: number(row, 'bytes_ratio')):.3f}"]
        name = f"**{tool}**" if tool.startswith(OURS) else tool
        more = f" of {len(whole[tool])}" if len(whole[tool]) > len(found) else ""
        runtimes = ", ".join(sorted({str(row["runtime"]) for row in found}))
        lines.append(f"| {name} | {len(found)}{more} | {' | '.join(figures)} | {runtimes} |")
    return "\n".join(lines) + "\n"


def by_tool(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each toolkit."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["tool"]].append(row)
    return found


def mean(rows: Iterable[Row], figure: Callable[[Row], float | None]) -> float:
    """Mean of a figure over the rows that have it."""
    return float(np.mean([value for row in rows if (value := figure(row)) is not None]))


def against_best(rows: list[Row], whom: str) -> str:
    """Ours against the best of `whom` on each baseline, and every baseline where ours agrees less with the float file."""
    cells: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.get("failed"):
            cells[cell(row)].append(row)
    counts: dict[str, list[int]] = {"agreement": [0, 0, 0], "auc": [0, 0, 0], "accuracy": [0, 0, 0]}
    within = {"auc": 0, "accuracy": 0}
    lost = []
    for key, found in sorted(cells.items()):
        ours, peers = [[row for row in found if row["tool"].startswith(OURS) is mine] for mine in (True, False)]
        if not ours or not peers:
            continue
        for metric, count in counts.items():
            mine, theirs = (max(number(row, metric) or 0.0 for row in side) for side in (ours, peers))
            count[0 if mine > theirs else 1 if mine == theirs else 2] += 1
            if metric in within and mine < theirs:
                within[metric] += any(theirs <= (upper_end(row, metric) or 0.0) for row in ours)
        mine, best = (max(side, key=lambda row: number(row, "agreement") or 0.0) for side in (ours, peers))
        if (number(mine, "agreement") or 0.0) < (number(best, "agreement") or 0.0):
            lost.append(f"{' '.join(key)} ({mine['agreement']} against {best['agreement']}, {best['tool']})")
    if not sum(counts["agreement"]):
        return ""
    told = "; ".join(
        f"{metric} above {above}, equal {equal}, below {below}"
        + (f" ({within[metric]} of them within our interval)" if metric in within and below else "")
        for metric, (above, equal, below) in counts.items()
    )
    return f"Against the best {whom} of each baseline: {told}.\n" + (f"\nAgreement below: {'; '.join(lost)}.\n" if lost else "")


def upper_end(row: Row, metric: str) -> float | None:
    """The metric at the upper end of the 95% interval of its difference from the float file."""
    before, apart = number(row, f"float_{metric}"), number(row, f"{metric}_upper")
    return None if before is None or apart is None else before + apart


def reasons(rows: list[Row]) -> str:
    """What a toolkit did not answer, and why."""
    failed: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if row.get("failed"):
            failed[(row["tool"], str(row["failed"]))] += 1
    return "\n".join(f"- {tool}, {count} baselines: `{reason}`" for (tool, reason), count in sorted(failed.items())) + (
        "\n" if failed else ""
    )
