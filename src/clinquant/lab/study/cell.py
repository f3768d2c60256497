"""One set, architecture and seed of a study: its float networks, its images, and the file of every way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import read_json, replacing, sha256_json
from clinquant.core.predictions import Predictions
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.edge.explain import answers
from clinquant.edge.resize import model_pixels
from clinquant.edge.runtimes import runtime_module
from clinquant.lab.architectures import find_architecture
from clinquant.lab.build import prepare, run_train
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.export.integer import export_integer
from clinquant.lab.fit import fit
from clinquant.lab.guide import Guide
from clinquant.lab.mixed import TunedOn, mix
from clinquant.lab.objectives import Objective, PreserveAttribution, SaliencyGuided
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.fake_quant import METHODS
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.guidance import Learning
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration, Model
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.passes.fine_tune import plan_learning
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.recipes import RECIPES, begin, run_recipes
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.quantize.widths import MIXED
from clinquant.lab.run import Run, Silent
from clinquant.lab.study.ways import WAYS
from clinquant.lab.train import initial_module
from clinquant.lab.train import train as train_float

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

AS_PUBLISHED = Learning(rate=1e-3, labels=1.0, settling=0.0)
"""Training as the papers that the study compares have it: from ranges alone, with the whole cross-entropy. What `build` does instead
stays nearer to the float network (`docs/methods/quantization-aware.md`)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set of the study and how it is read.

    Attributes:
        name: as rows have it.
        data, groups: as in `BuildOptions`.
        size: side of the network's input, pixels; None for the architecture's.
    """

    name: str
    data: str
    groups: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Cell:
    """One set, architecture and seed.

    Attributes:
        source: the data.
        arch, seed: of the float network.
        out: the study's directory.
        views: image views that a network is trained on for after its float training; None for the defaults of `FineTune`, and then guided
            networks are trained from the beginning instead of going on from the float one.
        guidance: saliency guidance of the ways that have it.
    """

    source: Source
    arch: str
    seed: int
    out: Path
    views: int | None = None
    guidance: SaliencyGuided = field(default_factory=SaliencyGuided)

    @property
    def folder(self) -> Path:
        """A place for this cell's files."""
        return self.out / "cells" / f"{self.source.name}-{self.arch}-{self.seed}"

    @cached_property
    def run(self) -> Run:
        """The run of the plain float network, trained now if it is not there; what was built there before is kept."""
        run = Run(self.folder / "float", Silent())
        if not all(run.path(name).exists() for name in ("study.json", "split.json", "float.safetensors", "float.card.json")):
            options = BuildOptions(data=self.source.data, groups=self.source.groups, arch=self.arch, size=self.source.size, seed=self.seed)
            with run.locked():
                prepare(run, options)
                run_train(run, options)
        return run

    @cached_property
    def study(self) -> Study:
        """The data set as read."""
        return read_json(self.run.path("study.json"), Study, kind="study")

    @cached_property
    def split(self) -> Split:
        """Train, tune, calibration and test ids."""
        return read_json(self.run.path("split.json"), Split, kind="split")

    def pixels(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        """The network's input pixels, uint8 [n, s, s, 3], kept for every seed."""
        preprocess = Classifier.load(self.run.directory).card.preprocess
        return model_pixels(Pixels(self.study), tuple(ids), preprocess, cache=self.out / "pixels", key=sha256_json(self.study))

    def labelled(self, ids: Sequence[str]) -> Labelled:
        """The pixels and labels of `ids`."""
        return self.pixels(ids), self.study.labels(ids)

    @property
    def epochs(self) -> int | None:
        """Of training after the float network."""
        return None if self.views is None else max(1, round(self.views / len(self.split.train)))

    def classifier(self, *, guided: bool = False) -> Classifier:
        """The float network, plain or guided."""
        plain = Classifier.load(self.run.directory)
        if not guided:
            return plain
        folder = self.folder / "sgt"
        if not (folder / "float.card.json").exists():
            self.guided(plain, folder).save(folder)
        return Classifier.load(folder)

    def guided(self, plain: Classifier, folder: Path) -> Classifier:
        """The float network trained with guidance: from its own random weights, or on from the plain one where `views` are given."""
        train, tune = (self.labelled(ids) for ids in (self.split.train, choosing_half(self.split)))
        classes, preprocess = len(plain.card.classes), plain.card.preprocess
        if self.views is None:
            return train_float(
                self.study, self.split, folder, arch=self.arch, size=preprocess.size, seed=self.seed, objectives=(self.guidance,)
            )
        plan = plan_learning(train[1], classes, preprocess, self.seed, epochs=self.epochs)
        module, _ = initial_module(find_architecture(self.arch), classes, "random", self.seed)
        module.load_state_dict(plain.module.state_dict())
        guide = Guide(objectives=(self.guidance,), keeps_last=True)
        module.load_state_dict(fit(module, train, tune, plan, folder / "train", guide=guide).state)
        return replace(plain, module=module.cpu().eval())

    def random(self) -> Classifier:
        """The network before any training, of another seed: the control."""
        card = Classifier.load(self.run.directory).card
        module, _ = initial_module(find_architecture(self.arch), len(card.classes), "random", self.seed + 1000)
        return Classifier(module=module.eval(), card=card)

    def place(self, way: str, bits: str) -> Path:
        """Where the file of a way stands, with what was measured of it."""
        return self.folder / f"{way}-{bits}"

    def file(self, way: str, bits: str) -> Path:
        """The exported file of a way, made now if it is not there."""
        place = self.place(way, bits)
        path = place / "model.onnx"
        if path.exists():
            return path
        place.mkdir(parents=True, exist_ok=True)
        if WAYS[way].recipe is None:
            return self.export(self.classifier(guided=WAYS[way].guided), path)
        quantized = self.quantized(way, bits)
        quantized.save(place)
        return export_integer(lower(quantized), path)

    def export(self, classifier: Classifier, path: Path) -> Path:
        """A float network's file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        folded = fold_batch_norm(trace(classifier.module, classifier.card.preprocess.size))
        return export_float(folded, classifier.card.preprocess, path)

    def network(self, way: str, bits: str) -> Classifier | QuantizedNetwork:
        """What a way's file was exported from."""
        if WAYS[way].recipe is None:
            return self.classifier(guided=WAYS[way].guided)
        return QuantizedNetwork.load(self.place(way, bits))

    def quantized(self, way: str, bits: str) -> QuantizedNetwork:
        """The quantized network of a way."""
        how, classifier = WAYS[way], self.classifier(guided=WAYS[way].guided)
        calibration = Calibration(pixels=self.pixels(self.split.calibration), preprocess=classifier.card.preprocess)
        model = self.widened(begin(classifier, bits), way, bits, calibration)
        assert how.recipe is not None
        passes = RECIPES.get(how.recipe)
        if passes is None:
            passes = (*RECIPES["mse"], self.fine_tune(way, bits))
        return run_recipes(model, calibration, {how.recipe: passes})[how.recipe].quantized(how.recipe)

    def fine_tune(self, way: str, bits: str) -> FineTune:
        """Quantization-aware training of a way."""
        how = WAYS[way]
        assert how.recipe in METHODS
        train, tune = (self.labelled(ids) for ids in (self.split.train, choosing_half(self.split)))
        guidance: tuple[Objective, ...] = (self.guidance,) if how.guided else ()
        preserving: tuple[Objective, ...] = (PreserveAttribution(),) if how.preserving else ()
        return FineTune(
            train=train,
            tune=tune,
            folder=self.place(way, bits) / "train",
            method=how.recipe,
            learning=AS_PUBLISHED,
            objectives=(*guidance, *preserving),
            epochs=self.epochs,
            seed=self.seed,
        )

    def widened(self, model: Model, way: str, bits: str, calibration: Calibration) -> Model:
        """`model` with its widths, mixed ones measured on tune."""
        if bits not in MIXED:
            return model
        ids = choosing_half(self.split)
        guided = WAYS[way].guided
        logits = self.logits(self.file("sgt" if guided else "float", "float"), ids)
        pixels, labels = self.labelled(ids)
        asked = BuildOptions(data="", bits=bits)
        measured = self.folder / f"{bits}-{'sgt' if guided else 'float'}"
        tuned_on = TunedOn(pixels=pixels, labels=labels, logits=logits)
        mixed = mix(model, calibration, tuned_on, asked, measured, sha256_json([guided, self.guidance]), lambda done, of: None)
        return replace(model, widths=mixed.widths)

    def logits(self, file: Path, ids: Sequence[str]) -> NDArray[np.float32]:
        """float32 [n, k] of an exported file, one image at a time, as a device would."""
        session, pixels = runtime_module("onnxruntime").load(file, 1), self.pixels(ids)
        return np.concatenate([answers(session, pixels[row : row + 1]) for row in range(len(ids))])

    def tested(self, file: Path) -> Predictions:
        """The file's predictions of the locked test set, units as the split has them; kept beside it."""
        ids, kept = self.split.test, file.with_name("test.npy")
        if not kept.exists():
            with replacing(kept) as temporary:
                np.save(temporary, self.logits(file, ids))
        return Predictions(
            ids=ids,
            groups=tuple(self.split.units.get(case, case) for case in ids),
            labels=self.study.labels(ids),
            scores=np.load(kept),
            classes=self.study.classes,
            model_sha256="",
            runtime=runtime_module("onnxruntime").version(),
        )
