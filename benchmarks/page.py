"""Writes docs/measured.md from the tables in benchmarks/results: no number there is typed by hand.

python -m benchmarks.page
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

RESULTS, PAGE = Path("benchmarks/results"), Path("docs/measured.md")
SPEEDS = Path("src/clinquant/edge/speed.csv")
Row = dict[str, str]


def rows_of(name: str) -> tuple[str, list[Row]]:
    """The commands that made a table, a line each, and its rows; none where it is not there."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return "", []
    lines = path.read_text(encoding="utf-8").splitlines()
    commands = "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return commands, list(csv.DictReader(line for line in lines if not line.startswith("#")))


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n{body}"


def mean(values: Iterable[float], digits: int = 4) -> str:
    """The mean, or a dash."""
    found = list(values)
    return f"{statistics.mean(found):.{digits}f}" if found else "-"


def change(rows: list[Row], metric: str) -> str:
    """Mean difference from the float file's figure, signed, and its least and greatest."""
    found = [float(row[metric]) - float(row[f"float_{metric}"]) for row in rows if row[metric] and row[f"float_{metric}"]]
    return f"{statistics.mean(found):+.4f} ({min(found):+.4f} to {max(found):+.4f})" if found else "-"


def by(rows: list[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the values of some columns, in order of appearance."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def low_bits(rows: list[Row]) -> str:
    """Means over seeds of what every width and recipe did."""
    lines = []
    for key, found in by(rows, "set", "bits", "recipe").items():
        agreement = mean(float(row["agreement"]) for row in found)
        ratio = mean((float(row["bytes_ratio"]) for row in found), 3)
        lines.append((*key, str(len(found)), change(found, "auc"), change(found, "accuracy"), agreement, ratio))
    columns = ("set", "bits", "recipe", "seeds", "AUC less float's", "accuracy less float's", "same top-1", "bytes / float")
    return table(columns, sorted(lines))


def ablation(rows: list[Row]) -> str:
    """Means over sets and seeds of what every way did."""
    lines = []
    for key, found in by(rows, "arch", "bits", "way").items():
        agreement = mean(float(row["agreement"]) for row in found)
        lines.append((*key, str(len(found)), mean((float(row["divergence"]) for row in found), 5), agreement, change(found, "auc")))
    return table(("network", "bits", "way", "cells", "divergence from float, nats", "same top-1", "AUC less float's"), lines)


def adaround(rows: list[Row]) -> str:
    """A line a network: its layers together."""
    lines = []
    for row in (row for row in rows if row["layer"] == "all"):
        same = [each for each in rows if all(each[name] == row[name] for name in ("set", "arch", "seed", "bits", "threads"))]
        weights = sum(int(each["weights"]) for each in same if each["weights"])
        figures = (
            str(len(same) - 1),
            str(weights),
            row["iterations"],
            row["nearest"],
            row["loss"],
            row["threads"],
            row["wall_s"],
            row["processor_s"],
        )
        lines.append((row["set"], row["arch"], row["bits"], *figures))
    named = ("set", "network", "bits", "layers", "weights", "iterations", "loss, nearest", "loss, AdaRound")
    return table((*named, "threads", "wall, s", "processor, s"), lines)


def agree(rows: list[Row]) -> str:
    """A line a target: all networks and widths together; a network whose bytes differ is named."""
    lines = []
    for (target, machine, runtime), found in by(rows, "target", "target_machine", "runtime").items():
        differing = {row["architecture"]: int(row["differing_bytes"]) for row in found if int(row["differing_bytes"])}
        networks, total = dict.fromkeys(row["architecture"] for row in found), sum(int(row["bytes"]) for row in found)
        told = "; ".join(f"{name} {number}" for name, number in differing.items()) or "0"
        lines.append(
            (target, machine, runtime, str(len(networks)), ", ".join(dict.fromkeys(row["bits"] for row in found)), str(total), told)
        )
    return table(("target", "machine", "runtime", "networks", "bits", "bytes compared", "that differ"), lines)


def plain(*columns: str) -> Callable[[list[Row]], str]:
    """Some columns as they stand."""
    return lambda rows: table(columns, (tuple(row.get(name, "") for name in columns) for row in rows))


SECTIONS: tuple[tuple[str, str, str, Callable[[list[Row]], str]], ...] = (
    (
        "low_bits",
        "Fewer bits",
        "ResNet-20 at 28 px on the locked test sets, mean over seeds (least to greatest). `float` is the control: the float network "
        "trained on for as long as quantization-aware training. Recipes by name are in `clinquant methods`.",
        low_bits,
    ),
    (
        "ablation",
        "What each choice is worth",
        "One choice at a time, on exported files. `benchmarks.activations` are ResNet-20 with other activations, trained alike.",
        ablation,
    ),
    (
        "sizes",
        "Bytes",
        "Of the exported file, and of what the runtime holds of weights: packed codes are widened to int8 at load.",
        plain("architecture", "bits", "bytes", "ratio", "memory_bytes", "share_int8"),
    ),
    (
        "qat_step",
        "What a training step costs",
        "Medians of paired ratios in one process: forward, backward and optimizer, w4a4 by LSQ.",
        plain(
            "architecture",
            "batch",
            "threads",
            "fused/bfloat16",
            "fused/float32",
            "settled/bfloat16",
            "settled/float32",
            "torch/bfloat16",
            "torch/float32",
        ),
    ),
    (
        "exactness",
        "The simulation and the file",
        "Codes of every tensor, over real images, that ONNX Runtime and the exact simulation in torch have otherwise than the numpy "
        "reference. `4/2`: layers of 4 and 2 bits by turns.",
        plain("architecture", "bits", "size", "images", "values", "runtime", "simulation"),
    ),
    (
        "random_networks",
        "Networks that nobody chose",
        "Drawn at random (convolutions, batch norm, fourteen activations, sums that broadcast or not, products, concatenation, poolings, "
        "squeeze-and-excitation): codes that ONNX Runtime and the simulation have otherwise than the numpy reference.",
        plain("bits", "target", "networks", "refused", "values", "runtime", "simulation"),
    ),
    (
        "targets",
        "Targets",
        "Logits that differ between this processor and emulated ones, of all images.",
        plain("run", "target", "agreement", "divergence", "haswell_differ", "nehalem_differ"),
    ),
    (
        "adaround",
        "AdaRound",
        "The loss that it lowers, summed over layers, with weights rounded to nearest and by AdaRound; the table has every layer.",
        adaround,
    ),
    (
        "wasm",
        "In the browser's WebAssembly",
        "One thread, ONNX Runtime Web, in one page of Chromium or one process of node (`where`), medians of paired ratios to the float "
        "file; `mixed` has its short sums in float kernels, proven exact. `same_bits`: the integer file's logits equal the native ones on "
        "every image timed.",
        plain(
            "architecture",
            "size",
            "wasm_integer_over_float",
            "wasm_mixed_over_float",
            "native_integer_over_float",
            "wasm_integer_same_bits",
            "wasm_mixed_same_bits",
            "wasm_float_ms",
            "wasm_integer_ms",
            "wasm_mixed_ms",
            "where",
        ),
    ),
    (
        "agree",
        "The same bytes elsewhere",
        "Bytes of all outputs (logits, class maps, what the network read) that differ from this machine's, on real images, with random "
        "weights: [agree.md](agree.md).",
        agree,
    ),
    (
        "serve",
        "The server under load",
        "Clients that send the next image as soon as the last is answered, on the server's own machine; other work kept it busy "
        "in the first two rows.",
        plain(
            "architecture",
            "clients",
            "requests",
            "lost",
            "different_answers",
            "p50_ms",
            "p99_ms",
            "p99_over_p50",
            "resident_mb_early",
            "resident_mb_late",
        ),
    ),
    (
        "calibration",
        "Calibration",
        "Time in float passes, and memory.",
        plain("arch", "size", "images", "float_s", "calibrate_s", "ratio", "peak_mib", "growth_mib", "threads"),
    ),
)


def write_speeds() -> None:
    """Ratios and times of every network, which `clinquant methods` shows and the tablet app warns by."""
    names = {
        "size": "size",
        "native_integer_over_float": "native",
        "wasm_integer_over_float": "browser_integer",
        "wasm_mixed_over_float": "browser_mixed",
    }
    names |= {f"native_{file}_ms": f"native_{file}_ms" for file in ("float", "integer")}
    names |= {f"wasm_{file}_ms": f"browser_{file}_ms" for file in ("float", "integer", "mixed")}
    lines = [",".join(("architecture", *names.values()))]
    lines += [",".join((row["architecture"], *(row[name] for name in names))) for row in rows_of("wasm")[1]]
    SPEEDS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Writes the page, and the packaged table of times."""
    write_speeds()
    parts = [
        "# Measured\n\nMade by `python -m benchmarks.page` from `benchmarks/results`. Machines and versions stand in the tables there."
    ]
    for name, title, says, render in SECTIONS:
        commands, rows = rows_of(name)
        if rows:
            parts.append(f"## {title}\n\n{says}\n\n```text\n{commands}\n```\n\n{render(rows)}")
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
