"""Mixed precision: which layers bear fewer bits, measured layer by layer on exported files, and a budget shared out among them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.affine import TensorSpec
from clinquant.core.artifact import read_json, write_json
from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network
from clinquant.core.progress import Progress
from clinquant.edge.bench import bench
from clinquant.edge.runtimes import runtime_module
from clinquant.evidence.reliability import divergence, nll
from clinquant.lab.export.builder import CONTRACT
from clinquant.lab.export.integer import export_integer
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.allocate import Option, allocate
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.observers import MSE, Histogram, MinMax, Observer
from clinquant.lab.quantize.passes import Calibrate, FoldBatchNorm, PutOnGrids
from clinquant.lab.quantize.widths import MIXED, WHOLE, WIDTHS, Widths, inner_layers

IMAGES = 256
"""Of the choosing half of tune, that every layer is measured on."""

BATCH = 16
ROUNDS = 6
"""Times that a budget is tightened because a file came out larger than its weights."""


@dataclass(frozen=True, kw_only=True)
class LayerWidth:
    """A row of the table of layers.

    Attributes:
        layer: its name.
        weights: how many it has.
        weight, activation: the bits it got.
        divergence: by widths ("w4a8"), what narrowing this layer alone adds to the mean divergence from the float's probabilities, nats.
        loss: by widths, what that adds to the mean loss on tune, nats; moves more by chance, and decides nothing.
    """

    layer: str
    weights: int
    weight: int
    activation: int
    divergence: Mapping[str, float]
    loss: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedOn:
    """What sensitivities are measured on.

    Attributes:
        pixels: uint8 [n, s, s, 3].
        labels: [n].
        logits: the float file's, [n, k].
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    def evenly(self, count: int) -> TunedOn:
        """At most `count` of them, evenly spaced: tune may be sorted by class."""
        rows = np.unique(np.linspace(0, len(self.labels) - 1, min(count, len(self.labels))).astype(np.int64))
        return TunedOn(pixels=self.pixels[rows], labels=self.labels[rows], logits=self.logits[rows])


@dataclass(frozen=True, eq=False)
class Remembering:
    """An observer that looks once at each histogram and width."""

    observer: Observer = field(default_factory=MSE)
    known: dict[tuple[int, TensorSpec], tuple[float, float]] = field(default_factory=dict)

    def range(self, histogram: Histogram, spec: TensorSpec) -> tuple[float, float]:
        """As the observer's."""
        key = (id(histogram), spec)
        if key not in self.known:
            self.known[key] = self.observer.range(histogram, spec)
        return self.known[key]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Widths that were chosen, and the table that says why."""

    widths: Widths
    table: tuple[LayerWidth, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`layers.json` of the working directory: what was measured, kept for a run that is interrupted."""

    key: str
    options: dict[str, tuple[Option, ...]]
    losses: dict[str, dict[str, float]]


def mix(
    model: Model,
    calibration: Calibration,
    tuned_on: TunedOn,
    asked: BuildOptions,
    folder: Path,
    key: str,
    tick: Progress,
) -> Mixed:
    """The widths of every layer for `asked.bits`, a key of `MIXED`.

    Args:
        folder, key: where the measurements are kept, and the hash of what they depend on.

    Raises:
        ClinquantError: `budget-unreachable`.
    """
    place = folder / "layers.json"
    measured = _kept(place, key)
    if measured is None:
        options, losses = measure_layers(model, calibration, tuned_on, pairs_of(asked.bits), tick)
        measured = Measured(key=key, options=options, losses=losses)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, measured, kind="layers")
    seen = Calibrate()(FoldBatchNorm()(model, replace(calibration, progress=None)), replace(calibration, progress=None))
    if asked.bits != "auto":
        widths, chosen = widths_under(measured.options, halfway(measured.options))
    elif asked.max_bytes is None:
        widths, chosen = widths_under(measured.options, sum(layer[0].bytes for layer in measured.options.values()))
    else:
        limit = asked.max_bytes
        widths, chosen = widths_under(measured.options, limit, lambda found: len(exported(seen, calibration, found, asked.recipe)), limit)
    if asked.max_ms is not None:
        check_time(exported(seen, calibration, widths, asked.recipe), model.card.preprocess.size, asked.max_ms)
    return Mixed(widths=widths, table=table_of(model.traced, measured.options, chosen, measured.losses))


def check_time(file: bytes, size: int, limit: float) -> None:
    """Raises ClinquantError `budget-unreachable` where a file takes longer than `limit` milliseconds, in the median."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "integer.onnx"
        path.write_bytes(file)
        median = bench({"integer": path}, size)["integer"].median_ms
    if median > limit:
        raise ClinquantError(
            "budget-unreachable",
            f"the integer file takes {median:.2f} ms on this machine, and fewer bits are not faster: they are widened to int8 at load.",
            fix="give a larger --max-ms, a smaller --arch or a smaller --size.",
        )


def exported(seen: Model, calibration: Calibration, widths: Widths, recipe: str = "auto") -> bytes:
    """The integer file at those widths, as large as the one that `recipe` will leave: odd codes are looked up, by a node a layer."""
    put = PutOnGrids(MinMax())(replace(seen, widths=widths), calibration)
    if recipe in METHODS and METHODS[recipe].weight == "dorefa":
        narrow = {name: grid for name, grid in put.weights.items() if widths.of_weight(name) < WHOLE}
        odd = {name: replace(grid, spec=replace(grid.spec, odd=True, narrow=False)) for name, grid in narrow.items()}
        put = replace(put, weights={**put.weights, **odd})
    with tempfile.TemporaryDirectory() as folder:
        path = export_integer(lower(put.quantized("minmax")), Path(folder) / "integer.onnx", description=CONTRACT)
        return path.read_bytes()


def _kept(place: Path, key: str) -> Measured | None:
    try:
        found = read_json(place, Measured, kind="layers")
    except ClinquantError:
        return None
    return found if found.key == key else None


def pairs_of(bits: str) -> tuple[tuple[int, int], ...]:
    """The widths of weights and activations that a layer may get, widest first.

    `auto` narrows weights alone: fewer bits for activations save no byte of the file and no time.
    """
    return tuple(WIDTHS[name] for name in MIXED[bits])


def measure_layers(
    model: Model, calibration: Calibration, tuned_on: TunedOn, pairs: Iterable[tuple[int, int]], tick: Progress
) -> tuple[dict[str, tuple[Option, ...]], dict[str, dict[str, float]]]:
    """What every inner layer costs at every pair of widths while all others have 8 bits, and what it adds to the loss on tune.

    Each is measured on its exported file, on at most `IMAGES` of `tuned_on`. Losses below zero count as zero.

    Args:
        model: as traced; its widths do not matter.
    """
    seen = Calibrate()(FoldBatchNorm()(model, calibration), calibration)
    images, narrowing, layers = tuned_on.evenly(IMAGES), tuple(pairs), sorted(inner_layers(model.traced))
    put = PutOnGrids(Remembering())

    def tried(widths: Widths) -> tuple[float, float]:
        quantized = put(replace(seen, widths=widths), calibration).quantized("mse")
        with tempfile.TemporaryDirectory() as folder:
            path = export_integer(lower(quantized), Path(folder) / "integer.onnx")
            session = runtime_module("onnxruntime").load(path, 1)
            batches = [session.run(images.pixels[at : at + BATCH]).logits for at in range(0, len(images.labels), BATCH)]
        logits = np.concatenate(batches)
        return divergence(images.logits, logits), nll(logits, images.labels)

    whole = tried(Widths())
    options: dict[str, tuple[Option, ...]] = {}
    losses: dict[str, dict[str, float]] = {}
    for index, layer in enumerate(layers):
        found, losses[layer], count = [], {}, seen.network[layer].params["weight"].size
        for weight, activation in narrowing:
            unchanged = (weight, activation) == (WHOLE, WHOLE)
            result = whole if unchanged else tried(Widths(weight={layer: weight}, activation={layer: activation}))
            losses[layer][f"w{weight}a{activation}"] = round(result[1] - whole[1], 6)
            loss = max(0.0, result[0] - whole[0])
            found.append(Option(weight=weight, activation=activation, bytes=weight_bytes(count, weight), loss=loss))
        options[layer] = tuple(found)
        tick(index + 1, len(layers))
    return options, losses


def weight_bytes(count: int, bits: int) -> int:
    """Bytes of `count` packed codes."""
    return -(-count * bits // 8)


def halfway(options: Mapping[str, tuple[Option, ...]]) -> int:
    """The bytes in the middle between all layers at their widest and all at their narrowest: the budget of `w84` and `w42`."""
    widest, narrowest = (sum(layer[end].bytes for layer in options.values()) for end in (0, -1))
    return (widest + narrowest) // 2


def widths_under(
    options: Mapping[str, tuple[Option, ...]], budget: int, file_bytes: Callable[[Widths], int] | None = None, limit: int = 0
) -> tuple[Widths, dict[str, Option]]:
    """The widths of least loss whose weights, or whose whole file, stay within a budget.

    Args:
        budget: of the inner layers' weights, bytes.
        file_bytes: what a whole file takes at given widths; the budget is tightened until that is at most `limit`.

    Raises:
        ClinquantError: `budget-unreachable`.
    """
    for _ in range(ROUNDS):
        chosen = allocate(options, budget)
        if chosen is None:
            break
        widths = _widths(chosen)
        if file_bytes is None or (excess := file_bytes(widths) - limit) <= 0:
            return widths, chosen
        budget -= excess
    narrowest = {name: layer[-1] for name, layer in options.items()}
    widths = _widths(narrowest)
    least = file_bytes(widths) if file_bytes else sum(option.bytes for option in narrowest.values())
    if least <= limit:
        return widths, narrowest
    raise ClinquantError(
        "budget-unreachable",
        f"no widths fit {limit} bytes: with every inner layer at its narrowest the integer file takes {least}.",
        fix=f"give --max-bytes {least} or more, or a smaller --arch.",
    )


def _widths(chosen: Mapping[str, Option]) -> Widths:
    return Widths(
        weight={name: option.weight for name, option in chosen.items()},
        activation={name: option.activation for name, option in chosen.items()},
    )


def table_of(
    network: Network, options: Mapping[str, tuple[Option, ...]], chosen: Mapping[str, Option], losses: Mapping[str, Mapping[str, float]]
) -> tuple[LayerWidth, ...]:
    """The table of layers, in the network's order."""
    return tuple(
        LayerWidth(
            layer=node.name,
            weights=node.params["weight"].size,
            weight=chosen[node.name].weight,
            activation=chosen[node.name].activation,
            divergence={f"w{option.weight}a{option.activation}": round(option.loss, 6) for option in options[node.name]},
            loss=losses[node.name],
        )
        for node in network
        if node.name in chosen
    )


def told(table: tuple[LayerWidth, ...]) -> list[str]:
    """The table in lines of text."""
    wide = max(len(row.layer) for row in table)
    lines = [f"{'layer':<{wide}}  weights   bits  divergence added when narrowed alone"]
    for row in table:
        added = "  ".join(f"{name} {value:.5f}" for name, value in row.divergence.items())
        lines.append(f"{row.layer:<{wide}} {row.weights:>8}  w{row.weight}a{row.activation}  {added}")
    mean = sum(row.weights * row.weight for row in table) / sum(row.weights for row in table)
    return [*lines, f"{mean:.2f} bits a weight on the average, first and last layer apart."]
