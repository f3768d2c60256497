"""clinquant bench."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, threads
from clinquant.cli.output import show, table


@click.command("bench")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--size", default=224, show_default=True, metavar="PX", type=click.IntRange(min=8), help="Side of the networks' input.")
@click.option("--runs", default=50, show_default=True, metavar="N", type=click.IntRange(min=3), help="Counted runs of each file.")
@threads
@as_json
def command(models: tuple[Path, ...], size: int, runs: int, threads: int, as_json: bool) -> None:
    """Time ONNX files against each other: they take turns in a fresh process, after their answers were checked.

    A ratio is of medians, to the first file. Beside it stand a 1-megapixel picture, which the graph resizes, the share of
    multiply-accumulates that the runtime's own graph does in 8-bit integers, and the megabytes of weights that it holds in memory.
    """
    from clinquant.edge.bench import bench
    from clinquant.edge.integer_audit import integer_audit

    latency = bench({str(path): path for path in models}, size, threads=threads, runs=runs)
    first = next(iter(latency.values()))
    audits = {str(path): integer_audit(path, size) for path in models}
    rows: list[tuple[str, ...]] = [("file", "median ms", "least", "greatest", "ratio", "1 megapixel ms", "int8", "MB in memory")]
    for name, times in latency.items():
        figures = (times.median_ms, times.minimum_ms, times.maximum_ms, times.median_ms / first.median_ms, times.megapixel_median_ms or 0.0)
        share = audits[name].share_int8
        held = (("-" if share is None else f"{share:.4f}"), f"{audits[name].memory_bytes / 1e6:.2f}")
        rows.append((name, *(f"{figure:.2f}" for figure in figures), *held))
    show({"latency": latency, "audits": audits, "threads": threads, "size": size}, table(rows), kind="bench", as_json=as_json)
