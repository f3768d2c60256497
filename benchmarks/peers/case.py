"""A trained float network and the images that every toolkit gets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from benchmarks.floats import run_directory
from numpy.typing import NDArray
from torch import nn

from clinquant.core.artifact import read_json, replacing, sha256_json
from clinquant.core.predictions import Predictions
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study
from clinquant.edge.resize import model_pixels
from clinquant.edge.runtimes.onnxruntime import OnnxRuntimeSession
from clinquant.lab.classifier import Classifier
from clinquant.lab.export.float import export_float
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.trace.trace import trace


@dataclass(frozen=True)
class Case:
    """One float baseline: `name`, `arch` and `seed` as `benchmarks/floats.py` made it.

    Attributes:
        runs: where the baselines stand.
        work: where pixels and files are kept between toolkits.
    """

    name: str
    arch: str
    seed: int
    runs: Path
    work: Path

    @property
    def folder(self) -> Path:
        """A place for this case's files."""
        return self.work / f"{self.name}-{self.arch}-{self.seed}"

    @cached_property
    def run(self) -> Path:
        """The baseline's directory."""
        return run_directory(self.runs, self.name, self.arch, self.seed)

    @cached_property
    def classifier(self) -> Classifier:
        """The float network and its card."""
        return Classifier.load(self.run)

    @property
    def module(self) -> nn.Module:
        """A fresh copy of the float network in evaluation mode: some toolkits change what they are given."""
        return Classifier.load(self.run).module

    @cached_property
    def study(self) -> Study:
        """The data set as read."""
        return read_json(self.run / "study.json", Study, kind="study")

    @cached_property
    def split(self) -> Split:
        """Train, tune, calibration and test ids."""
        return read_json(self.run / "split.json", Split, kind="split")

    def pixels(self, ids: tuple[str, ...]) -> NDArray[np.uint8]:
        """The network's input pixels, uint8 [n, s, s, 3]; the same for every toolkit."""
        return model_pixels(
            Pixels(self.study), ids, self.classifier.card.preprocess, cache=self.work / "pixels", key=sha256_json(self.study)
        )

    def labelled(self, ids: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Pixels and labels."""
        return self.pixels(ids), self.study.labels(ids)

    def images(self, ids: tuple[str, ...]) -> NDArray[np.float32]:
        """The pixels normalised, float32 [n, 3, s, s]."""
        return np.asarray(normalised(self.pixels(ids), self.classifier.card.preprocess).numpy(), np.float32)

    @cached_property
    def calibration(self) -> NDArray[np.float32]:
        """Images for ranges: a subset of train, up to 512."""
        return self.images(self.split.calibration)

    @cached_property
    def tune(self) -> NDArray[np.float32]:
        """Images that recipes are chosen on: the choosing half of tune, as ours."""
        return self.images(choosing_half(self.split))

    @cached_property
    def float_file(self) -> Path:
        """The float ONNX file: uint8 pixels in."""
        path = self.folder / "float.onnx"
        if not path.exists():
            with replacing(path) as temporary:
                export_float(fold_batch_norm(trace(self.classifier.module)), self.classifier.card.preprocess, temporary)
        return path

    @cached_property
    def float_tune(self) -> NDArray[np.float32]:
        """The float file's logits of `tune`."""
        return self.answers(self.float_file, choosing_half(self.split))

    def answers(self, file: Path, ids: tuple[str, ...]) -> NDArray[np.float32]:
        """Logits of an ONNX file that takes pixels, kept beside it."""
        kept = file.with_name(f"{file.stem}.{sha256_json(ids)[:12]}.npy")
        if not kept.exists() or kept.stat().st_mtime < file.stat().st_mtime:
            session = OnnxRuntimeSession(file)
            pixels = self.pixels(ids)
            logits = np.concatenate([session.run(pixels[row : row + 1]).logits for row in range(len(ids))])
            with replacing(kept) as temporary:
                np.save(temporary, logits)
        return np.asarray(np.load(kept))

    def predictions(self, scores: NDArray[np.float32], runtime: str) -> Predictions:
        """A table of the test set, units as the split has them."""
        ids = self.split.test
        return Predictions(
            ids=ids,
            groups=tuple(self.split.units.get(case, case) for case in ids),
            labels=self.study.labels(ids),
            scores=np.asarray(scores, np.float32).reshape(len(ids), len(self.study.classes)),
            classes=self.study.classes,
            model_sha256="",
            runtime=runtime,
        )
