"""A classifier small enough to reason about (bright against dark), its bundle, and pictures for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from clinquant import __version__
from clinquant.core.artifact import sha256_file, sha256_json, write_text
from clinquant.core.card import Card
from clinquant.core.predictions import Predictions
from clinquant.core.preprocess import Preprocess
from clinquant.edge.bundle import Bundle, pack
from clinquant.edge.golden import golden_images, record_golden
from clinquant.edge.manifest import Entry, read_manifest, sealed
from clinquant.edge.resize import IR_VERSION, OPSET, resize_node
from clinquant.evidence.chance import no_better_than_chance
from clinquant.evidence.claims import Claims, plan_claims
from clinquant.evidence.evidence import Evidence, FileFacts, Latency, TestSet
from clinquant.evidence.pair import compare_pair
from clinquant.evidence.summary import summarise

CLASSES = ("dark", "bright")


def write_model(path: Path, *, size: int = 16, gain: float = 0.1) -> Path:
    """A file that answers logits (0, gain * (mean grey level - 128))."""
    weights = np.array([[0.0, gain / 3]] * 3, np.float32)
    nodes = [
        resize_node("image", "resized", "sizes"),
        helper.make_node("Cast", ["resized"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
    ]
    constants = {
        "sizes": np.array([size, size], np.int64),
        "axes": np.array([1, 2], np.int64),
        "weights": weights,
        "bias": np.array([0.0, -128 * gain], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), path)
    return path


def write_pictures(folder: Path, *, each: int = 4, size: tuple[int, int] = (20, 24), seed: int = 0) -> Path:
    """`folder/dark/*.png` and `folder/bright/*.png`: noise around grey levels 70 and 190."""
    random = np.random.default_rng(seed)
    for name, level in zip(CLASSES, (70, 190), strict=True):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            noise = random.integers(-40, 41, (*size, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / name / f"{name}{index}.png")
    return folder


def predictions(model: Path, scores: NDArray[np.float32], classes: tuple[str, ...] = CLASSES) -> Predictions:
    n = len(scores)
    return Predictions(
        ids=tuple(f"case {i}, 'a'.png" for i in range(n)),
        groups=tuple(f"p{i // 2}" for i in range(n)),
        labels=(np.arange(n) % len(classes)).astype(np.int64),
        scores=scores,
        classes=classes,
        model_sha256=sha256_file(model),
        runtime="onnxruntime 0",
        device="any",
    )


def evidence(float_model: Path, integer_model: Path, tables: Mapping[str, Predictions]) -> Evidence:
    """What the two tables truly show, at a margin that they can decide."""
    classes = tables["integer"].classes
    positive, each = (1 if len(classes) == 2 else None), dict.fromkeys(classes, 40 // len(classes))
    claims = plan_claims(classes, positive, each, margin=0.2)
    test = TestSet(name="tiny", sha256="0" * 64, images=40, units=20, unit="patient", images_by_class=each, reads=1)
    pair = compare_pair(
        tables["float"],
        tables["integer"],
        claims,
        test=test,
        thresholds=(0.5, 0.5) if positive else (None, None),
        rule="youden" if positive else "argmax",
        positive=positive,
        refer_below=(0.8, 0.8),
    )
    latency = Latency(median_ms=1.0, minimum_ms=0.9, maximum_ms=1.2, runs=10)
    return Evidence(
        verdict=pair.verdict,
        summary=summarise(pair.findings, warning=no_better_than_chance(tables["float"])),
        findings=pair.findings,
        agreement=pair.agreement,
        flips=pair.flips,
        confusion=pair.confusion,
        reliability=pair.reliability,
        operating_points=pair.operating_points,
        churn=pair.churn,
        specificity_at=pair.specificity_at,
        referral=pair.referral,
        subgroups=pair.subgroups,
        test=test,
        claims=claims,
        claims_sha256=sha256_json(Claims(claims=claims, test_sha256=test.sha256)),
        classes=classes,
        positive=positive,
        model={"architecture": "tiny", "bits": "w8a8"},
        files={
            name: FileFacts(bytes=path.stat().st_size, sha256=sha256_file(path))
            for name, path in (("float", float_model), ("integer", integer_model))
        },
        latency={"float": latency, "integer": latency},
        runtime="onnxruntime 0",
        machine="any",
        not_shown=("Anything about other hospitals.",),
        clinquant=__version__,
    )


def card() -> Card:
    return Card(
        architecture="tiny", classes=CLASSES, positive=1, preprocess=Preprocess(size=16), bits="w8a8", target="portable",
        threshold=0.5, threshold_rule="youden", refer_below=0.8,
    )  # fmt: skip


def write_bundle(folder: Path, *, gain: float = 0.1, name: str = "bundle") -> Bundle:
    """Packs `folder/bundle` around the tiny model."""
    float_model = write_model(folder / "float.onnx", gain=gain * 1.01)
    integer = write_model(folder / "integer.onnx", gain=gain)
    scores = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    tables = {"float": predictions(float_model, scores * np.float32(1.01)), "integer": predictions(integer, scores)}
    for which, table in tables.items():
        table.write(folder / f"test.{which}.csv")
    return pack(
        folder / name,
        model=integer,
        card=card(),
        evidence=evidence(float_model, integer, tables),
        predictions={which: folder / f"test.{which}.csv" for which in tables},
        golden=record_golden(integer, golden_images(16)),
        licences={"data": "made up", "weights": "random"},
    )


def reseal(bundle: Path) -> None:
    """What a forger does: makes the manifest fit the files."""
    old = read_manifest(bundle)
    there = [name for name in old.files if (bundle / name).exists()]
    files = {name: Entry(bytes=(bundle / name).stat().st_size, sha256=sha256_file(bundle / name)) for name in there}
    write_text(bundle / "manifest.json", sealed(dataclasses.replace(old, files=files)).text)
