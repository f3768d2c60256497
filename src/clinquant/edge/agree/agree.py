"""The verb: one set of images, one file, several machines; bytes that differ are counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import sha256_file
from clinquant.core.progress import Progress
from clinquant.data.decode import decode
from clinquant.edge.agree.job import OUTPUTS, outputs, read_answers, write_job
from clinquant.edge.agree.process import answered, failed
from clinquant.edge.agree.replay import replay
from clinquant.edge.agree.targets import TARGETS, target_module
from clinquant.edge.answer import find_images
from clinquant.edge.bundle import Bundle
from clinquant.edge.golden import TOLERANCE, read_golden
from clinquant.edge.machine import machine


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What one target answered, beside this machine.

    Attributes:
        target: its name.
        agrees: no byte differs, or for a file that is not portable no value by more than the tolerance; None where it was not run.
        not_run: why not, and how to install what is missing; None where it was run.
        runtime, machine: that answered.
        bytes: of all outputs.
        differing_bytes, differing_images: how many differ.
        largest: greatest difference of a value, as a share of the largest value of the same output.
    """

    target: str
    agrees: bool | None
    not_run: str | None = None
    runtime: str = ""
    machine: str = ""
    bytes: int = 0
    differing_bytes: int = 0
    differing_images: int = 0
    largest: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The whole comparison.

    Attributes:
        model_sha256: of the bundle's model file.
        tolerance: by which a file that is not portable (float islands, full 8-bit weights) is compared; None asks for every byte.
        images: how many.
        runtime, machine: that every target is compared with: this one.
        targets: in the order asked for.
    """

    model_sha256: str
    tolerance: float | None
    images: int
    runtime: str
    machine: str
    targets: tuple[Compared, ...]

    @property
    def agrees(self) -> bool:
        """Whether every target that was run agrees."""
        return all(found.agrees is not False for found in self.targets)

    @property
    def ran(self) -> bool:
        """Whether any target was run."""
        return any(found.agrees is not None for found in self.targets)


def agree(
    bundle: Bundle,
    targets: Sequence[str] = tuple(TARGETS),
    images: Sequence[str] = (),
    *,
    limit: int = 32,
    progress: Progress | None = None,
) -> Agreement:
    """Runs the bundle's model on the same pixels here and on every target.

    Args:
        bundle: verified.
        targets: names of `TARGETS`.
        images: files, folders and globs; none takes the pictures of the golden vectors. They are decoded once, here.
        limit: at most so many images, spread evenly over those found.
        progress: called with (done, total) over all targets' images.

    Raises:
        ClinquantError: `target-unknown`, `target-failed`, and as decoding.
    """
    return compare_file(
        bundle.model,
        _pictures(bundle, images, limit),
        targets,
        browser=(bundle.browser_model, bundle.browser_optimise),
        portable=bundle.card.portable is not False,
        progress=progress,
    )


def compare_file(
    model: Path,
    pictures: Sequence[NDArray[np.uint8]],
    targets: Sequence[str],
    *,
    browser: tuple[Path, bool] | None = None,
    portable: bool = True,
    progress: Progress | None = None,
) -> Agreement:
    """As `agree`, for a model file and uint8 pictures [h, w, 3].

    Args:
        browser: the file that a browser runs in its place, and whether its graph may be optimised; default the same file.
        portable: False compares by tolerance.
    """
    modules = {name: target_module(name) for name in dict.fromkeys(targets)}
    reasons = {name: module.missing() for name, module in modules.items()}
    total = len(pictures) * sum(reason is None for reason in reasons.values())
    with tempfile.TemporaryDirectory(prefix="clinquant-agree-") as place:
        here = write_job(Path(place) / "here", model.read_bytes(), pictures)
        replay(here, machine())
        found, done = [], 0
        for name, module in modules.items():
            if (reason := reasons[name]) is not None:
                found.append(Compared(target=name, agrees=None, not_run=reason))
                continue
            file, optimise = browser if browser and module.WEB else (model, True)
            folder = write_job(Path(place) / name, file.read_bytes(), pictures, threads=module.THREADS, optimise=optimise)
            module.answer(folder, _counting(folder, done, total, progress))
            found.append(_compared(name, here, folder, len(pictures), portable))
            done += len(pictures)
        answers = read_answers(here)
    return Agreement(
        model_sha256=sha256_file(model),
        tolerance=None if portable else TOLERANCE,
        images=len(pictures),
        runtime=answers.runtime,
        machine=answers.machine,
        targets=tuple(found),
    )


def _pictures(bundle: Bundle, images: Sequence[str], limit: int) -> list[NDArray[np.uint8]]:
    if not images:
        return list(read_golden(bundle.path / "golden.npz").images)[:limit]
    paths = find_images(images)
    chosen = [paths[int(index)] for index in np.linspace(0, len(paths) - 1, min(limit, len(paths)))]
    return [decode(path.read_bytes(), bundle.card.grey_window, name=str(path)) for path in chosen]


def _counting(folder: Path, done: int, total: int, progress: Progress | None) -> Callable[[], None]:
    return lambda: progress(done + answered(folder), total) if progress else None


def _compared(name: str, here: Path, there: Path, images: int, portable: bool) -> Compared:
    answers, pairs = read_answers(there), [(outputs(here, index), outputs(there, index)) for index in range(images)]
    for index, (expected, found) in enumerate(pairs):
        if _sizes(expected) != _sizes(found):
            raise failed(name, f"picture {index} has other outputs than here")
    differing = [sum(_differing(expected[each], found[each]) for each in expected) for expected, found in pairs]
    shares = (_difference(expected[each], found[each], OUTPUTS[each]) for expected, found in pairs for each in expected)
    largest = max(shares, default=0.0)
    return Compared(
        target=name,
        agrees=not any(differing) if portable else largest <= TOLERANCE,
        runtime=answers.runtime,
        machine=answers.machine,
        bytes=sum(sum(_sizes(expected).values()) for expected, _ in pairs),
        differing_bytes=sum(differing),
        differing_images=sum(map(bool, differing)),
        largest=largest,
    )


def _sizes(outputs: Mapping[str, bytes]) -> dict[str, int]:
    return {name: len(values) for name, values in outputs.items()}


def _differing(expected: bytes, found: bytes) -> int:
    return int((np.frombuffer(expected, "u1") != np.frombuffer(found, "u1")).sum())


def _difference(expected: bytes, found: bytes, kind: str) -> float:
    """Greatest difference as a share of the greatest expected value; infinite where a value is not finite."""
    a, b = (np.frombuffer(values, kind).astype(np.float64) for values in (expected, found))
    if not np.isfinite(b).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(float(np.abs(a).max()), np.finfo(np.float32).tiny))
