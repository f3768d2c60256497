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

    A ratio is of medians, to the first file. Below it stands a 1-megapixel picture, which the graph resizes.
    """
    from clinquant.edge.bench import bench

    latency = bench({str(path): path for path in models}, size, threads=threads, runs=runs)
    first = next(iter(latency.values()))
    rows: list[tuple[str, ...]] = [("file", "median ms", "least", "greatest", "ratio", "1 megapixel ms")]
    for name, times in latency.items():
        figures = (times.median_ms, times.minimum_ms, times.maximum_ms, times.median_ms / first.median_ms, times.megapixel_median_ms or 0.0)
        rows.append((name, *(f"{figure:.2f}" for figure in figures)))
    show({"latency": latency, "threads": threads, "size": size}, table(rows), kind="bench", as_json=as_json)
