"""`train`: from a study and its split to a float classifier."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clinquant.core.artifact import sha256_json, write_json
from clinquant.core.card import Card
from clinquant.core.preprocess import Preprocess
from clinquant.core.progress import Progress
from clinquant.data.pixels import Pixels
from clinquant.data.split import Split, choosing_half
from clinquant.data.study import Study, learnt_sha256
from clinquant.edge.resize import model_pixels
from clinquant.lab.architectures import Architecture, find_architecture
from clinquant.lab.augment import Augment
from clinquant.lab.classifier import Classifier
from clinquant.lab.fit import Fitted, Run, fit, reproducible
from clinquant.lab.guide import Guide
from clinquant.lab.objectives import Distillation, Objective
from clinquant.lab.plan import TrainingPlan, plan_training
from clinquant.lab.quantize.trace.trace import trace
from clinquant.lab.teacher import load_teacher
from clinquant.lab.weights import initial_weights, sha256_tensors


def train(
    study: Study,
    split: Split,
    out: Path,
    *,
    arch: str = "auto",
    size: int | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    weights: str | None = None,
    threshold: str = "youden",
    horizontal_flip: bool = False,
    vertical_flip: bool = False,
    objectives: tuple[Objective, ...] = (),
    teacher: Path | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Trains on `split.train`, keeps the epoch with the lowest loss on the choosing half of tune, and saves the classifier in `out`.

    Pixels are resized exactly as the exported graph will. Killed and called again with the same arguments, it goes on from
    `out/train/` and ends in the same bytes. The card's threshold is left unset: it is chosen on the exported file's predictions.

    Args:
        study, split: the data; the test ids are never read.
        out: the run directory; gets `train/`, `float.safetensors` and `float.card.json`.
        arch: a name in the zoo, `module:function`, `path/to/file.py:function`, `timm:NAME`, or `auto`.
        size: side of the network's input, pixels; None for the architecture's own (`auto`: see `choose_architecture`).
        epochs, batch: None for the plan's defaults.
        seed: of everything random.
        weights: a .pth or .safetensors file, `random`, or None for published weights where the architecture has them.
        threshold: the rule by which the operating point will be chosen, kept in the card of a two-class study.
        horizontal_flip, vertical_flip: allow mirrored training views; off, because left and right matter in most images.
        objectives: what is asked for beside the right class; see `lab.objectives`.
        teacher: a run directory whose float network, trained on the same split, is learnt from (`Distillation`).
        progress: called with (steps done, steps planned).

    Raises:
        ClinquantError: see `find_architecture`, `initial_weights`, `plan_training`, `load_teacher`, `fit`.
    """
    name, preprocess = choose_architecture(study, arch, size)
    module, origin = initial_module(find_architecture(name), len(study.classes), weights, seed)
    parts = (split.train, choosing_half(split))
    labels = [study.labels(ids) for ids in parts]
    plan = plan_training(
        labels[0],
        len(study.classes),
        preprocess,
        pretrained=origin != "random",
        epochs=epochs,
        batch=batch,
        seed=seed,
        augment=Augment(horizontal_flip=horizontal_flip, vertical_flip=vertical_flip),
    )
    source, folder = Pixels(study), out / "train"
    train_pixels, tune_pixels = (model_pixels(source, ids, preprocess, cache=folder, key=learnt_sha256(study)) for ids in parts)
    taught = load_teacher(teacher, study, split, preprocess) if teacher else None
    objectives = (*objectives, Distillation()) if taught else objectives
    guide = Guide(objectives=objectives, teacher=taught)
    fitted = fit(module, (train_pixels, labels[0]), (tune_pixels, labels[1]), plan, folder, guide=guide, progress=progress)
    del train_pixels, tune_pixels  # closes the files, which are as large as the images
    for cached in folder.glob("*.npy"):
        cached.unlink()
    asked = {type(objective).__name__: objective for objective in objectives}
    course = {"plan": plan, "objectives": asked, "best_epoch": fitted.best_epoch, "epochs": fitted.history}
    write_json(folder / "course.json", course, kind="training")
    classifier = _classifier(study, split, plan, name, origin, threshold, fitted)
    classifier.save(out)
    return classifier


def _classifier(study: Study, split: Split, plan: TrainingPlan, name: str, origin: str, threshold: str, fitted: Fitted) -> Classifier:
    module = find_architecture(name).build(len(study.classes)).eval()
    module.load_state_dict(fitted.state)
    card = Card(
        architecture=name,
        classes=study.classes,
        positive=study.positive,
        preprocess=plan.preprocess,
        threshold_rule="argmax" if study.positive is None else threshold,
        grey_window=study.source.grey_window,
        weights=origin,
        data_licence=study.licence,
        parents={"study": learnt_sha256(study), "split": sha256_json(split), "plan": sha256_json(plan)},
    )
    return Classifier(module=module, card=card)


def choose_architecture(study: Study, arch: str, size: int | None) -> tuple[str, Preprocess]:
    """The name and preprocessing that `arch` and `size` mean for this study.

    `auto` is the MedMNIST ResNet-18 at the images' own size (rounded to a multiple of 4, 28 to 64 px) where the median longer side is
    at most 64 px, and EfficientNet-Lite0 at 224 px elsewhere.
    """
    if arch != "auto":
        return arch, find_architecture(arch).preprocess(size)
    side = usual_side(study)
    if side > 64:
        return "efficientnet_lite0", find_architecture("efficientnet_lite0").preprocess(size)
    native = min(max(4 * round(side / 4), 28), 64)
    return "resnet18_28", find_architecture("resnet18_28").preprocess(size or native)


def usual_side(study: Study) -> float:
    """The median longer side of the pictures, in pixels."""
    return statistics.median(max(case.width, case.height) for case in study.cases)


def initial_module(architecture: Architecture, classes: int, weights: str | None, seed: int) -> tuple[nn.Module, str]:
    """The network before training, the same for the same seed, and where its weights came from (`random`, or a source)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = architecture.build(classes)
    return module, initial_weights(architecture, module, weights)


def initial_sha256(arch: str, classes: int, size: int, seed: int) -> str:
    """Hash of a network's layers and random weights before training: it changes with the user's code, and with nothing else."""
    module, _ = initial_module(find_architecture(arch), classes, "random", seed)
    layers = [(node.name, node.op, node.inputs, dict(node.attributes)) for node in trace(module, size)]
    return sha256_json({"layers": layers, "weights": sha256_tensors(module.state_dict())})


def estimate_seconds(module: nn.Module, plan: TrainingPlan, n_train: int, n_tune: int = 0, objectives: tuple[Objective, ...] = ()) -> float:
    """Seconds that `fit` would take here without early stopping, from the quicker of two steps on blank images, after one to warm up."""
    size = plan.preprocess.size
    pixels, labels = np.zeros((plan.batch, size, size, 3), np.uint8), np.arange(plan.batch) % plan.classes
    with reproducible(plan), torch.random.fork_rng(devices=[]):
        run = Run(copy.deepcopy(module), plan, n_train, "", Path(), Guide(objectives=objectives))
        run.module.train()
        step = min([_seconds(lambda: run.update(pixels, labels)) for _ in range(3)][1:])
        look = _seconds(lambda: run.logits(pixels))
    return run.steps * step + plan.epochs * (n_tune / plan.batch) * look


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
