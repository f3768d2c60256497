"""A bundle of a real integer network, small and with random weights: what the tablet app is tested with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import nn

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
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.target import find_target
from clinquant.lab.quantize.widths import Widths
from tiny_bundle import CLASSES, card, evidence, predictions, write_model

SIZE = 28
"""Pixels a side: the least that takes little time."""


def write_integer_bundle(
    folder: Path,
    *,
    bits: str = "w8a8",
    architecture: str = "resnet20",
    module: nn.Module | None = None,
    widths: Widths | None = None,
    target: str = "portable",
    classes: tuple[str, ...] = CLASSES,
    gain: float = 1.0,
    scope: Scope | None = None,
) -> Bundle:
    """Packs `folder/bundle` around a network of the zoo at 28 px, or around `module`; `gain` makes another bundle of the same classes."""
    folder.mkdir(parents=True, exist_ok=True)
    float_model = write_model(folder / "float.onnx", gain=gain)
    card = _card(bits, architecture, classes)
    network = _quantized(card, module, widths, target, seed=int(gain * 10))
    integer = export_integer(lower(network), folder / "integer.onnx")
    scores = np.random.default_rng(0).normal(size=(40, len(classes))).astype(np.float32)
    tables = {"float": predictions(float_model, scores * np.float32(1.01), classes), "integer": predictions(integer, scores, classes)}
    for which, table in tables.items():
        table.write(folder / f"test.{which}.csv")
    said = {"target": target, "portable": network.card.portable, "float_islands": network.card.float_islands}
    return pack(
        folder / "bundle",
        model=integer,
        card=dataclasses.replace(card, scope=scope, **said),
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


def _card(bits: str, architecture: str, classes: tuple[str, ...]) -> Card:
    preprocess = dataclasses.replace(card().preprocess, size=SIZE)
    made = dataclasses.replace(card(), architecture=architecture, bits=bits, preprocess=preprocess)
    if len(classes) == 2:
        return dataclasses.replace(made, classes=classes)
    return dataclasses.replace(made, classes=classes, positive=None, threshold=None, threshold_rule="argmax")


def _quantized(card: Card, module: nn.Module | None, widths: Widths | None, target: str, seed: int) -> QuantizedNetwork:
    torch.manual_seed(seed)
    module = (module or ARCHITECTURES[card.architecture].build(len(card.classes))).train()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, SIZE, SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        module(normalised(pixels, card.preprocess))
    source = Classifier(module=module.eval(), card=dataclasses.replace(card, bits="float32"))
    recipes = ("minmax",)
    return quantize(source, pixels, bits=card.bits, recipes=recipes, widths=widths, target=find_target(target))["minmax"]
