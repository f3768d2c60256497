"""clinquant: the rungs of `--recipe auto` that need no training, each exported as its integer file, run by ONNX Runtime; chosen on tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.peers.case import Case
from benchmarks.peers.tool import Deployed, Images, best_on_tune
from numpy.typing import NDArray

from clinquant.edge.runtimes.onnxruntime import OnnxRuntimeSession
from clinquant.lab.export.integer import export_integer
from clinquant.lab.ladder import RUNGS
from clinquant.lab.quantize.lower import lower
from clinquant.lab.quantize.model import Calibration
from clinquant.lab.quantize.passes import FineTune
from clinquant.lab.quantize.quantize import quantize
from clinquant.lab.quantize.recipes import before_training, begin, run_recipes


def best(case: Case, bits: str) -> Deployed:
    """The recipe whose file diverges least from the float file on tune, of all that the ladder could try without training."""
    rungs = RUNGS[:2] if bits == "w8a8" else RUNGS[:-1]
    recipes = tuple(name for rung in rungs for name in rung)
    made = quantize(case.classifier, case.pixels(case.split.calibration), bits=bits, recipes=recipes)
    files = {name: export_integer(lower(network), case.folder / f"clinquant-{bits}-{name}.onnx") for name, network in made.items()}
    return best_on_tune(case, {name: lambda file=file, name=name: deployed(case, file, name) for name, file in files.items()})


def trained(case: Case, bits: str) -> Deployed:
    """Quantization-aware training as `--recipe lsq` does it, exported as learnt."""
    calibration = Calibration(pixels=case.pixels(case.split.calibration), preprocess=case.classifier.card.preprocess)
    train, tune = (case.labelled(ids) for ids in (case.split.train, case.split.tune))
    learn = FineTune(train=train, tune=tune, folder=case.folder / f"clinquant-{bits}-lsq", seed=case.seed)
    model = run_recipes(begin(case.classifier, bits), calibration, {"lsq": (*before_training("lsq"), learn)})["lsq"]
    file = export_integer(lower(model.quantized("lsq")), case.folder / f"clinquant-{bits}-lsq.onnx")
    return deployed(case, file, "lsq")


def deployed(case: Case, file: Path, recipe: str) -> Deployed:
    """The integer file; it takes pixels, so that images are turned back into them."""
    session, preprocess = OnnxRuntimeSession(file), case.classifier.card.preprocess
    mean, std = (np.array(numbers, np.float32).reshape(1, 3, 1, 1) for numbers in (preprocess.mean, preprocess.std))

    def predict(images: Images) -> NDArray[Any]:
        pixels = np.rint(images * std + mean).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.concatenate([session.run(pixels[row : row + 1]).logits for row in range(len(pixels))])

    return Deployed(predict=predict, bytes=file.stat().st_size, runtime=session.runtime, recipe=recipe)
