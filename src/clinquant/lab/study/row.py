"""One row of a study: a file made, its test set read once at the end, its explanations measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import replacing
from clinquant.edge.bench import bench
from clinquant.edge.reads import count_read
from clinquant.evidence.claims import Claim, Role
from clinquant.evidence.compare import compare
from clinquant.evidence.fidelity import Estimate, Explained, Units, distances, fidelity
from clinquant.evidence.maps import SIMILARITIES
from clinquant.evidence.metrics import macro_auc
from clinquant.lab.classifier import Classifier
from clinquant.lab.explained import explained
from clinquant.lab.prove import describe_test
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.study.cell import Cell
from clinquant.lab.study.ways import WAYS, Key

METHODS = ("class_map", "gradient")
"""Kinds of explanation that a study measures."""
MARGIN = 0.02
BENCH_RUNS = 20


def make_row(cell: Cell, other: Cell, key: Key, count: int) -> dict[str, Any]:
    """The row of `key`.

    Args:
        cell: its set, architecture and seed.
        other: the same of another seed, whose plain float network is the noise floor.
        count: test images that are explained, evenly spaced.
    """
    began, read_before = time.monotonic(), time.process_time()
    file = cell.file(key.way, key.bits)
    made, computed = time.monotonic() - began, time.process_time() - read_before
    plain = cell.file("float", "float")
    return {
        **vars(key),
        **measured(cell, plain, file),
        **sizes(cell, plain, file),
        **explanations(cell, other, key, count),
        "seconds": round(made, 1),
        "processor_seconds": round(computed, 1),
    }


def measured(cell: Cell, plain: Path, file: Path) -> dict[str, Any]:
    """AUC and accuracy of a file, and how they differ from the plain float file's, with 95% intervals by unit and verdicts."""
    test = describe_test(cell.study, cell.split.test, cell.split.units, reads=0)
    reads = count_read(test.sha256)
    baseline, candidate = cell.tested(plain), cell.tested(file)
    found: dict[str, Any] = {"test_images": test.images, "test_units": test.units, "test_reads": reads}
    for name, table in (("float_", baseline), ("", candidate)):
        auc = macro_auc(table.scores, table.labels)
        found[f"{name}auc"] = "" if auc is None else round(auc, 5)
        found[f"{name}accuracy"] = round(float((table.scores.argmax(1) == table.labels).mean()), 5)
    found["agreement"] = round(float((baseline.scores.argmax(1) == candidate.scores.argmax(1)).mean()), 5)
    claims = [Claim(metric=metric, class_name=None, role=Role.PRIMARY, margin=MARGIN, confidence=0.95) for metric in ("auc", "accuracy")]
    for finding in compare(baseline, candidate, claims, unit_name=test.unit):
        found |= {f"{finding.metric}_{end}": _rounded(value) for end, value in (("lower", finding.lower), ("upper", finding.upper))}
        found[f"{finding.metric}_verdict"] = finding.verdict.value
    return found


def sizes(cell: Cell, plain: Path, file: Path) -> dict[str, Any]:
    """Bytes and latency of a file, and both over the float file's."""
    size = Classifier.load(cell.run.directory).card.preprocess.size
    latency = bench({"float": plain, "file": file}, size, runs=BENCH_RUNS)
    return {
        "bytes": file.stat().st_size,
        "bytes_ratio": round(file.stat().st_size / plain.stat().st_size, 4),
        "ms": round(latency["file"].median_ms, 3),
        "ms_ratio": round(latency["file"].median_ms / latency["float"].median_ms, 3),
    }


def explanations(cell: Cell, other: Cell, key: Key, count: int) -> dict[str, Any]:
    """Fidelity to the float network that a way began from, as `<method>_<metric>...`, and what changed against another way.

    A guided float network is measured against the plain one, and a quantized one against the float network it came from.
    """
    ids, _ = explained_cases(cell, count)
    groups = [cell.split.units.get(case, case) for case in ids]
    began = "sgt" if WAYS[key.way].guided and WAYS[key.way].recipe else "float"
    against = WAYS[key.way].against
    rival = None if against is None else (against, "float" if WAYS[against].recipe is None else key.bits)
    found: dict[str, Any] = {"explained_images": len(ids)}
    for method in METHODS:
        baseline, candidate = (explained_by(cell, way, bits, method, count) for way, bits in ((began, "float"), (key.way, key.bits)))
        floor, control = explained_floor(cell, other, method, count), explained_control(cell, method, count)
        for each in fidelity(method, baseline, candidate, groups, other_seed=floor, random=control):
            name = f"{method}_{each.metric}"
            if each.candidate is not None:
                found |= {f"{name}": _rounded(each.candidate), f"{name}_float": _rounded(each.baseline)}
                found |= _estimate(f"{name}_change", each.difference)
            found |= _estimate(f"{name}_distance", each.distance)
            found |= {f"{name}_floor": _rounded(None if each.floor is None else each.floor.value)}
            found |= {f"{name}_control": _rounded(None if each.control is None else each.control.value)}
            found |= _estimate(f"{name}_fraction", each.fraction)
        if rival is not None and (cell.place(*rival) / f"{method}.npz").exists():
            found |= against_rival(method, baseline, candidate, explained_by(cell, *rival, method, count), groups)
    return found | {"against": against or ""}


def against_rival(method: str, baseline: Explained, candidate: Explained, rival: Explained, groups: list[str]) -> dict[str, Any]:
    """What is gained over a rival, image by image: insertion and sparsity up, deletion down, distances from the baseline down."""
    names, of_case = np.unique(np.array(groups), return_inverse=True)
    units = Units(count=len(names), of_case=of_case)
    gains = {metric: candidate.values[metric] - rival.values[metric] for metric in sorted(candidate.values)}
    gains |= {metric: distances(metric, baseline, rival) - distances(metric, baseline, candidate) for metric in SIMILARITIES}
    found: dict[str, Any] = {}
    for metric, estimate in zip(gains, units.means(list(gains.values())), strict=True):
        found |= _estimate(f"{method}_{metric}_gain", estimate)
    return found


def explained_cases(cell: Cell, count: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Test cases, evenly spaced, and the class that every network is explained for: the plain float file's."""
    ids = cell.split.test
    rows = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(np.int64))
    chosen = tuple(ids[row] for row in rows)
    kept = cell.place("float", "float") / f"decided-{count}.npy"
    if not kept.exists():
        with replacing(kept) as temporary:
            np.save(temporary, cell.logits(cell.file("float", "float"), chosen).argmax(1))
    return chosen, np.asarray(np.load(kept), np.int64)


def explained_by(cell: Cell, way: str, bits: str, method: str, count: int) -> Explained:
    """The maps of a way and their numbers, kept beside its file."""
    file = cell.file(way, bits)
    return _kept(cell.place(way, bits) / f"{method}.npz", cell.network(way, bits), file, cell, method, count)


def explained_floor(cell: Cell, other: Cell, method: str, count: int) -> Explained:
    """Those of another seed's plain float network, for this cell's cases and classes."""
    file = other.file("float", "float")
    return _kept(cell.place("float", "float") / f"floor-{other.seed}-{method}.npz", other.classifier(), file, cell, method, count)


def explained_control(cell: Cell, method: str, count: int) -> Explained:
    """Those of a network with random weights."""
    random, folder = cell.random(), cell.folder / "random"
    return _kept(folder / f"{method}.npz", random, cell.export(random, folder / "model.onnx"), cell, method, count)


def _kept(place: Path, network: Classifier | QuantizedNetwork, file: Path, cell: Cell, method: str, count: int) -> Explained:
    if not place.exists():
        ids, labels = explained_cases(cell, count)
        found = explained(network, file, cell.pixels(ids), labels, method)
        with replacing(place) as temporary:
            np.savez_compressed(temporary, maps=found.maps.astype(np.float32), **found.values)  # type: ignore[arg-type]
    loaded = dict(np.load(place))
    return Explained(maps=loaded.pop("maps").astype(np.float64), values=loaded)


def _estimate(name: str, estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {name: "", f"{name}_lower": "", f"{name}_upper": ""}
    ends = (("", estimate.value), ("_lower", estimate.lower), ("_upper", estimate.upper))
    return {f"{name}{end}": _rounded(value) for end, value in ends}


def _rounded(value: float | None) -> float | str:
    return "" if value is None or not np.isfinite(value) else round(float(value), 5)
