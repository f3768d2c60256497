"""The fidelity of a run's integer file: its explanations of test pictures beside the float file's, a floor and a control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.errors import missing_extra
from clinquant.core.predictions import Predictions
from clinquant.data.masks import read_masks, stem
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split
from clinquant.data.study import Study, learnt_sha256
from clinquant.edge.resize import model_pixels
from clinquant.evidence.fidelity import Fidelity, fidelity, pointing
from clinquant.lab.architectures import find_architecture
from clinquant.lab.classifier import Classifier
from clinquant.lab.explained import explained
from clinquant.lab.export.float import export_float
from clinquant.lab.objectives import objectives_of
from clinquant.lab.options import BuildOptions
from clinquant.lab.quantize.fold import fold_batch_norm
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.run import Run
from clinquant.lab.train import initial_module, train

IMAGES = 100
"""Test pictures that are explained, evenly spaced."""
CONTROL_SEED = 1000
"""Added to the run's seed for the network with random weights."""


def run_fidelity(run: Run, study: Study, split: Split, options: BuildOptions) -> tuple[Fidelity, ...]:
    """Every metric of every method; none where the options do not ask for it.

    The class is the float file's decision, of the predictions that were made already.
    """
    if not explains(options):
        return ()
    classifier, quantized = Classifier.load(run.directory), QuantizedNetwork.load(run.directory)
    table = Predictions.read(run.path("predictions/test.float.csv"))
    rows = np.unique(np.linspace(0, len(table.ids) - 1, min(IMAGES, len(table.ids))).astype(np.int64))
    chosen = table.take(rows)
    preprocess = classifier.card.preprocess
    pixels = model_pixels(Pixels(study), chosen.ids, preprocess, cache=run.path("work"), key=learnt_sha256(study))
    networks: dict[str, tuple[Classifier | QuantizedNetwork, Path]] = {
        "float": (classifier, run.path("float.onnx")),
        "integer": (quantized, run.path("integer.onnx")),
        "random": _exported(run, random_classifier(classifier, options.seed), "random"),
    }
    if options.noise_floor:
        networks["other seed"] = _exported(run, other_seed(run, study, split, options, classifier), "other-seed")
    labels = chosen.scores.argmax(1).astype(np.int64)
    masks = _masks(study, chosen.ids, options, preprocess.size)
    found: list[Fidelity] = []
    for method in methods(classifier):
        seen = {}
        for name, (network, file) in networks.items():
            with run.narrator.progress(f"explain by {method}: {name}") as tick:
                seen[name] = explained(network, file, pixels, labels, method, tick)
        found += fidelity(
            method,
            seen["float"],
            seen["integer"],
            chosen.groups,
            other_seed=seen.get("other seed"),
            random=seen["random"],
            seed=options.seed,
        )
        found += pointing(method, seen, masks, chosen.groups, options.seed)
    return tuple(found)


def explains(options: BuildOptions) -> bool:
    """Whether explanations are asked for."""
    return options.explain or options.noise_floor or options.masks is not None


def _masks(study: Study, ids: Sequence[str], options: BuildOptions, side: int) -> list[NDArray[np.bool_] | None]:
    """Where findings are in each of these cases; none where no masks are given."""
    if options.masks is None:
        return [None] * len(ids)
    masks, cases = read_masks(Path(options.masks)), {case.id: case for case in study.cases}
    bearers = Counter(stem(case.id) for case in study.cases)
    sizes = {case: (cases[case].width, cases[case].height) for case in ids}
    return [masks.of(case, sizes[case], side, alone=bearers[stem(case)] == 1) for case in ids]


def methods(classifier: Classifier) -> tuple[str, ...]:
    """The methods that are measured: the file's own map, or occlusion where it has none, and the gradient."""
    network = trace(classifier.module, classifier.card.preprocess.size)
    return ("class_map" if network.classifier() else "occlusion", "gradient")


def check_explain(options: BuildOptions) -> None:
    """Raises ClinquantError `extra-missing` where explanations are asked for and captum is not installed."""
    if explains(options) and find_spec("captum") is None:
        raise missing_extra("captum", "explain")


def random_classifier(classifier: Classifier, seed: int) -> Classifier:
    """The same network before any training."""
    card = classifier.card
    module, _ = initial_module(find_architecture(card.architecture), len(card.classes), "random", seed + CONTROL_SEED)
    return Classifier(module=module.eval(), card=card)


def other_seed(run: Run, study: Study, split: Split, options: BuildOptions, classifier: Classifier) -> Classifier:
    """A float network trained as the run's own, of the next seed; kept in `floor/`."""
    card, folder = classifier.card, run.path("floor")
    with run.narrator.progress("train the noise floor") as tick:
        return train(
            study,
            split,
            folder,
            arch=card.architecture,
            size=card.preprocess.size,
            epochs=options.epochs,
            seed=options.seed + 1,
            weights=options.weights,
            threshold=options.threshold,
            vertical_flip=options.vertical_flip,
            objectives=objectives_of(options),
            progress=tick,
        )


def _exported(run: Run, classifier: Classifier, name: str) -> tuple[Classifier, Path]:
    path = run.path(f"work/{name}.onnx")
    folded = fold_batch_norm(trace(classifier.module, classifier.card.preprocess.size))
    return classifier, export_float(folded, classifier.card.preprocess, path)
