"""A bundle of a real integer network, small and with random weights: what the tablet app is tested with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from clinquant.core.artifact import sha256_file
from clinquant.core.card import Card
from clinquant.core.scope import Scope
from clinquant.edge.browser_model import write_browser_model
from clinquant.edge.bundle import Bundle, pack
from clinquant.edge.golden import golden_images, record_golden
from clinquant.evidence.evidence import BrowserFile, Evidence, FileFacts
from clinquant.lab.architectures import ARCHITECTURES
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.integer import export_integer
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.quantize import quantize
from tiny_bundle import card, evidence, predictions, write_model

SIZE = 28
"""Pixels a side: the least that takes little time."""


def write_integer_bundle(
    folder: Path,
    *,
    bits: str = "w8a8",
    architecture: str = "resnet20",
    gain: float = 1.0,
    scope: Scope | None = None,
) -> Bundle:
    """Packs `folder/bundle` around a network of the zoo at 28 px; `gain` makes another bundle of the same classes."""
    folder.mkdir(parents=True, exist_ok=True)
    float_model = write_model(folder / "float.onnx", gain=gain)
    integer = _integer(folder / "integer.onnx", _card(bits, architecture), seed=int(gain * 10))
    scores = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    tables = {"float": predictions(float_model, scores * np.float32(1.01)), "integer": predictions(integer, scores)}
    for which, table in tables.items():
        table.write(folder / f"test.{which}.csv")
    return pack(
        folder / "bundle",
        model=integer,
        card=dataclasses.replace(_card(bits, architecture), scope=scope),
        evidence=_with_browser_file(evidence(float_model, integer, tables), integer, folder / "browser.onnx"),
        predictions={which: folder / f"test.{which}.csv" for which in tables},
        golden=record_golden(integer, golden_images(SIZE)),
        licences={"data": "made up", "weights": "random"},
    )


def _with_browser_file(evidence: Evidence, integer: Path, out: Path) -> Evidence:
    """As the run's own step states it; nothing is compared here."""
    made = write_browser_model(integer, out)
    if made is None:
        return evidence
    facts = FileFacts(bytes=out.stat().st_size, sha256=sha256_file(out))
    return dataclasses.replace(
        evidence, files=evidence.files | {"browser": facts}, browser=BrowserFile(compared=0, differing=0, **vars(made))
    )


def _card(bits: str, architecture: str) -> Card:
    return dataclasses.replace(card(), architecture=architecture, bits=bits, preprocess=dataclasses.replace(card().preprocess, size=SIZE))


def _integer(path: Path, card: Card, seed: int) -> Path:
    torch.manual_seed(seed)
    module = ARCHITECTURES[card.architecture].build(2).train()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, SIZE, SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        module(normalised(pixels, card.preprocess))
    source = Classifier(module=module.eval(), card=dataclasses.replace(card, bits="float32"))
    export_integer(lower(quantize(source, pixels, bits=card.bits, recipes=("minmax",))["minmax"]), path)
    return path
