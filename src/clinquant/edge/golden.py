"""Golden vectors: pictures and the exact outputs that a model file must give for them, wherever it runs."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import write_bytes
from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.runtimes import Outputs, runtime_module

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest date a zip file can state: the same vectors are the same bytes on every day."""

TOLERANCE = 0.1
"""Of the largest output, for a file with float islands: one may give the next code on another processor, and what reads it follows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Inputs and exact outputs.

    Attributes:
        images: n pictures, uint8 [h, w, 3] each, of any size.
        logits: float32 [n, k].
        class_maps: n arrays float32 [k, h, w], or empty where the file has no class map.
    """

    images: tuple[NDArray[np.uint8], ...]
    logits: NDArray[np.float32]
    class_maps: tuple[NDArray[np.float32], ...] = ()


def golden_images(size: int, *, seed: int = 0) -> tuple[NDArray[np.uint8], ...]:
    """Six made pictures that show no patient: flat, ramp, discs and noise at model size, and two that the graph must resize."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size]
    ramp = (rows + columns) * 255 // max(2 * size - 2, 1)
    disc = np.where((rows - size / 2) ** 2 + (columns - size / 3) ** 2 < (size / 4) ** 2, 200, 30)
    return (
        _grey(np.full((size, size), 128)),
        _grey(ramp),
        _grey(disc),
        random.integers(0, 256, (size, size, 3), dtype=np.uint8),
        _smooth(random, size * 2 + 5, size + 11),
        _smooth(random, size // 2 + 3, size - 1),
    )


def record_golden(model: Path, images: Sequence[NDArray[np.uint8]], *, runtime: str = "onnxruntime") -> Golden:
    """What `model` answers for `images`, one at a time on one thread."""
    session = runtime_module(runtime).load(model, 1)
    answers: list[Outputs] = [session.run(image[None]) for image in images]
    maps = tuple(answer.class_map[0] for answer in answers if answer.class_map is not None)
    return Golden(images=tuple(images), logits=np.stack([answer.logits[0] for answer in answers]), class_maps=maps)


def replay_golden(model: Path, golden: Golden, *, runtime: str = "onnxruntime", islands: bool = False) -> None:
    """Runs `model` on the golden pictures and compares every output bit, or where it has float `islands` each value within `TOLERANCE`.

    Raises:
        ClinquantError: `bundle-golden`, naming the first picture that differs and by how much.
    """
    found = record_golden(model, golden.images, runtime=runtime)
    same = _alike if islands else _same_bits
    for index in range(len(golden.images)):
        expected, answer = _outputs(golden, index), _outputs(found, index)
        if len(expected) != len(answer) or any(not same(a, b) for a, b in zip(expected, answer, strict=True)):
            difference = float(np.abs(found.logits[index].astype(np.float64) - golden.logits[index]).max())
            raise ClinquantError(
                "bundle-golden",
                f"{model} answers golden picture {index} differently here (largest logit difference {difference:.3g}).",
                fix="do not use it on this machine: this processor or runtime computes other integers; see 'clinquant doctor'.",
                exit_code=Exit.REFUSED,
            )


def write_golden(path: Path, golden: Golden) -> None:
    """Writes an `.npz` whose bytes depend on nothing but the vectors."""
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {"logits": golden.logits}
    arrays |= {f"image_{i:03d}": image for i, image in enumerate(golden.images)}
    arrays |= {f"class_map_{i:03d}": array for i, array in enumerate(golden.class_maps)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(_zip_entry(f"{name}.npy"), member.getvalue())
    write_bytes(path, out.getvalue())


def read_golden(path: Path) -> Golden:
    """The vectors at `path`. Raises ClinquantError `golden-broken`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = sorted(file.files)
            return Golden(
                images=tuple(file[name] for name in names if name.startswith("image_")),
                logits=file["logits"],
                class_maps=tuple(file[name] for name in names if name.startswith("class_map_")),
            )
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise ClinquantError("golden-broken", f"{path} is not a file of golden vectors ({error}).", fix="pack the bundle again.") from error


def _outputs(golden: Golden, index: int) -> tuple[NDArray[np.float32], ...]:
    return (golden.logits[index], golden.class_maps[index]) if golden.class_maps else (golden.logits[index],)


def _same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0.0, atol=TOLERANCE * float(np.abs(a).max())))


def _grey(levels: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def _smooth(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    steps = random.integers(-3, 4, (height, width, 3)).cumsum(axis=0).cumsum(axis=1)
    return np.asarray(128 + 127 * np.tanh(steps / 200), dtype=np.uint8)


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=ZIP_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry
