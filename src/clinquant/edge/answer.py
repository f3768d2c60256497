"""What a bundle says of images that nobody has labelled: out of scope, or class and probability, and REFER where it is not sure enough."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.card import Card
from clinquant.core.errors import ClinquantError
from clinquant.core.predictions import softmax
from clinquant.core.progress import Progress
from clinquant.data.decode import EXPORT_DICOM, IMAGE_SUFFIXES, decode, is_dicom
from clinquant.edge.bundle import Bundle
from clinquant.edge.runtimes import Session, runtime_module


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one image.

    Attributes:
        image: its path as it was found.
        out_of_scope: it is unlike the training images (`core.scope`), so no class is named.
        class_name: decided by the card's threshold, or the likeliest where it has none; None when out of scope.
        probability: of that class, 0 to 1; None when out of scope.
        refer: a person must decide: out of scope, or the highest probability is under the card's `refer_below`.
        probabilities: by class, as the file gives them; out of scope they mean nothing.
        classes: that it may have, by the card's rule of prediction sets, the likeliest first; empty out of scope and without a rule.
        distance: from the training images; out of scope above the limit of the card. None where the card has no such rule.
    """

    image: str
    out_of_scope: bool
    class_name: str | None = field(metadata={"json": "class"})
    probability: float | None
    refer: bool
    probabilities: dict[str, float]
    classes: tuple[str, ...] = ()
    distance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of one run, and what gave them; `broken` are the images left out, with the reason."""

    model_sha256: str
    runtime: str
    answers: tuple[Answer, ...]
    broken: dict[str, str]


def answer(
    bundle: Bundle,
    images: Sequence[str],
    *,
    runtime: str = "onnxruntime",
    threads: int = 1,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Answers:
    """Answers for image files, folders (searched through) and globs, in the order of their names.

    Raises:
        ClinquantError: `images-none`, `image-missing`, `image-broken` and the other errors of decoding, unless `skip_broken`.
    """
    paths = find_images(images)
    session = runtime_module(runtime).load(bundle.model, threads)
    found, broken = [], {}
    for done, path in enumerate(paths, 1):
        try:
            found.append(answer_one(_read(path), session, bundle.card, name=str(path)))
        except ClinquantError as error:
            if not skip_broken:
                raise
            broken[str(path)] = error.message
        if progress:
            progress(done, len(paths))
    sha256 = bundle.manifest.files["model.onnx"].sha256
    return Answers(model_sha256=sha256, runtime=session.runtime, answers=tuple(found), broken=broken)


def answer_one(data: bytes, session: Session, card: Card, *, name: str) -> Answer:
    """The answer to one encoded image: whoever asks, a command, a server or a test, asks here. Raises as `decode`."""
    outputs = session.run(decode(data, card.grey_window, name=name)[None])
    return decide(name, outputs.logits[0], card, None if outputs.pixels is None else outputs.pixels[0])


def decide(image: str, logits: NDArray[np.float32], card: Card, pixels: NDArray[np.uint8] | None = None) -> Answer:
    """The answer that a card gives to logits [k] and to what the network read, uint8 [size, size, 3].

    Raises ClinquantError `pixels-missing` where the card has a rule for what is out of scope and the file does not say what it read.
    """
    distance = _distance(card, pixels)
    outside = distance is not None and card.scope is not None and distance > card.scope.limit
    probabilities = softmax(logits[None])[0]
    best = int(probabilities.argmax())
    if card.threshold is not None and card.positive is not None:
        best = card.positive if probabilities[card.positive] >= card.threshold else 1 - card.positive
    return Answer(
        image=image,
        out_of_scope=outside,
        class_name=None if outside else card.classes[best],
        probability=None if outside else float(probabilities[best]),
        refer=outside or (card.refer_below is not None and bool(probabilities.max() < card.refer_below)),
        probabilities={name: float(value) for name, value in zip(card.classes, probabilities, strict=True)},
        classes=() if outside else _set(probabilities, card),
        distance=distance,
    )


def _set(probabilities: NDArray[np.float64], card: Card) -> tuple[str, ...]:
    if card.sets is None:
        return ()
    inside = card.sets.members(probabilities[None])[0]
    return tuple(card.classes[k] for k in np.argsort(-probabilities, kind="stable") if inside[k])


def _distance(card: Card, pixels: NDArray[np.uint8] | None) -> float | None:
    if card.scope is None:
        return None
    if pixels is None:
        raise ClinquantError("pixels-missing", "the model file has no output `pixels`.", fix="build the bundle again: its card needs it.")
    return card.scope.distance(pixels)


def find_images(images: Sequence[str]) -> list[Path]:
    """The image files that names, folders and globs stand for, each once; a file named outright counts whatever its ending is."""
    paths = list(dict.fromkeys(path for image in images for path in _expand(image)))
    if not paths:
        if any(is_dicom(found) for image in images for found in _files(Path(image))):
            raise ClinquantError("images-none", f"no image but DICOM in {', '.join(images)}.", fix=EXPORT_DICOM)
        raise ClinquantError(
            "images-none",
            f"no image in {', '.join(images) or 'nothing'}.",
            fix=f"name image files, or folders that hold them ({', '.join(sorted(IMAGE_SUFFIXES)[:6])} ...).",
        )
    return paths


def _expand(image: str) -> Iterator[Path]:
    path = Path(image)
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (found for found in sorted(_files(path)) if found.suffix.lower() in IMAGE_SUFFIXES and not found.name.startswith("."))
    elif glob.has_magic(image):
        yield from (found for found in map(Path, sorted(glob.glob(image, recursive=True))) if found.suffix.lower() in IMAGE_SUFFIXES)
    else:
        raise ClinquantError("image-missing", f"{image} does not exist.", fix="name an existing file or folder, or a glob in quotes.")


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClinquantError("image-missing", f"{path} cannot be read ({error.strerror}).", fix="check that the file is there.") from error
