"""`explain`: image files explained by the files of a run, or of a bundle. PyTorch is imported for gradients alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import read_json, write_json
from clinquant.core.card import RESEARCH_USE, Card
from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Progress
from clinquant.data.decode import decode
from clinquant.data.masks import Mask, Masks, read_masks
from clinquant.edge.answer import find_images
from clinquant.edge.bundle import open_bundle
from clinquant.edge.explain import FILE_METHODS, answers
from clinquant.edge.resize import Resizer
from clinquant.edge.runtimes import Session, runtime_module
from clinquant.evidence.evidence import FILES
from clinquant.report.side_by_side import Explain, Explanation, Explanations, explain_picture

GRADIENTS = ("gradient", "integrated_gradients", "smoothgrad", "grad_cam")
"""Methods that need the networks of a run; see `lab.explain.METHODS`."""

METHODS: dict[str, str] = {
    "class_map": "The file's own class map.",
    "occlusion": "Fall of the class's log odds when windows are greyed out; about 170 runs of the file.",
    "rise": "Random masks weighted by the class's probability; 400 runs of the file.",
    "gradient": "Gradient of the class's logit; of a run.",
    "integrated_gradients": "Gradients on the way from mid-grey; of a run.",
    "smoothgrad": "Mean gradient under noise; of a run.",
    "grad_cam": "Features before the pooling, weighted by their gradients; of a run.",
}
"""What `--methods` takes, in a sentence each."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What explains: the card and the opened files of a run or a bundle; `run` is None for a bundle."""

    card: Card
    sessions: dict[str, Session]
    run: Path | None


def explain_images(
    place: Path,
    images: Sequence[str],
    out: Path,
    methods: tuple[str, ...] = ("class_map",),
    *,
    class_name: str | None = None,
    masks: Path | None = None,
    progress: Progress | None = None,
) -> Explanations:
    """Explains every image by every method, for one class in both files, and writes pictures and `explanations.json` into `out`.

    Args:
        place: the directory of a build, or a bundle.
        images: files, folders and globs.
        methods: of `FILE_METHODS`, and with a run also of `GRADIENTS`.
        class_name: what is explained; None for the first file's decision.
        masks: where findings are, as `read_masks`; a mask that is black throughout is no finding.
        progress: called with (explanations done, of).

    Raises:
        ClinquantError: `explain-method`, `explain-class`, `explain-place`, `mask-missing`; as `read_masks`, `find_images`, `decode` and
            the methods.
    """
    _check(methods)
    opened = open_place(place)
    if opened.run is None and (wrong := [method for method in methods if method in GRADIENTS]):
        raise ClinquantError(
            "explain-place", f"{wrong[0]} needs a gradient, and a bundle has none.", fix="name the directory of the build."
        )
    if class_name is not None and class_name not in opened.card.classes:
        raise ClinquantError("explain-class", f"there is no class {class_name!r}.", fix=f"give one of: {', '.join(opened.card.classes)}.")
    paths, resize, found = find_images(images), Resizer(opened.card.preprocess), list[Explanation]()
    drawn = None if masks is None else read_masks(masks)
    explainers = {method: explainer(method, opened) for method in methods}
    for row, path in enumerate(paths):
        picture = decode(path.read_bytes(), opened.card.grey_window, name=str(path))
        pixels = resize(picture[None])[0]
        label = _class(opened, pixels, class_name)
        mask = None if drawn is None else _mask(drawn, path, picture, opened.card.preprocess.size)
        for method, explain in explainers.items():
            name = f"{row:03d}-{path.stem}.{method}.png"
            found.append(
                explain_picture(str(path), pixels, label, opened.card.classes[label], method, opened.sessions, explain, out / name, mask)
            )
            if progress:
                progress(len(found), len(paths) * len(methods))
    result = Explanations(explanations=tuple(found), notice=RESEARCH_USE)
    write_json(out / "explanations.json", result, kind="explanations")
    return result


def _check(methods: tuple[str, ...]) -> None:
    for method in methods:
        if method not in METHODS:
            raise ClinquantError("explain-method", f"there is no method {method!r}.", fix=f"give some of: {', '.join(METHODS)}.")


def open_place(place: Path) -> Place:
    """The files of a run (float and integer) or of a bundle. Raises ClinquantError `explain-place`."""
    load = runtime_module("onnxruntime").load
    if (place / "integer.onnx").exists() and (place / "cards").is_dir():
        card = read_json(place / "cards/integer.json", Card, kind="card")
        return Place(card=card, sessions={file: load(place / f"{file}.onnx", 1) for file in FILES}, run=place)
    if not (place / "manifest.json").exists():
        raise ClinquantError("explain-place", f"{place} is neither a finished build nor a bundle.", fix="name the --out of a build.")
    bundle = open_bundle(place)
    return Place(card=bundle.card, sessions={"integer": load(bundle.model, 1)}, run=None)


def _class(opened: Place, pixels: NDArray[np.uint8], class_name: str | None) -> int:
    if class_name is not None:
        return opened.card.classes.index(class_name)
    return int(answers(next(iter(opened.sessions.values())), pixels[None])[0].argmax())


def explainer(method: str, opened: Place) -> Explain:
    """How `method` gives a file's map."""
    if method in FILE_METHODS:
        return lambda file, pixels, label: FILE_METHODS[method](opened.sessions[file], pixels, label)
    assert opened.run is not None
    from clinquant.lab.classifier import Classifier
    from clinquant.lab.explain import differentiable, gradient_maps
    from clinquant.lab.quantize.quantized import QuantizedNetwork

    modules: dict[str, Any] = {
        "float": differentiable(Classifier.load(opened.run)),
        "integer": differentiable(QuantizedNetwork.load(opened.run)),
    }

    def explain(file: str, pixels: NDArray[np.uint8], label: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gradient_maps(method, modules[file], pixels[None], np.array([label]), opened.card.preprocess)[0]
        return found

    return explain


def _mask(masks: Masks, path: Path, picture: NDArray[np.uint8], side: int) -> Mask | None:
    """Raises ClinquantError `mask-missing`."""
    if not masks.knows(str(path)):
        raise ClinquantError("mask-missing", f"--masks has no mask named {path.stem}.", fix="name every mask as its image.")
    return masks.of(str(path), (picture.shape[1], picture.shape[0]), side)
