"""Synthetic pictures for tests: smooth random scenes that differ from one another as photographs do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scene(seed: int, size: int = 96) -> NDArray[np.uint8]:
    """uint8 [size, size, 3]: filtered noise of its own seed, grey levels 20 to 220."""
    rng = np.random.default_rng(seed)
    grey = sum(
        amplitude * np.asarray(Image.fromarray(rng.random((n, n)).astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
        for n, amplitude in ((4, 1.0), (12, 0.7), (32, 0.4))
    )
    spread = (grey - grey.min()) / np.ptp(grey)
    return np.repeat((20 + 200 * spread).astype(np.uint8)[..., None], 3, axis=2)


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    """The pixels as a file's bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def write(path: Path, pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> Path:
    """Writes the pixels as an image file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, kind, **options))
    return path


def folder(root: Path, counts: dict[str, int], first_seed: int = 0, size: int = 96) -> Path:
    """A folder of `counts[class]` different scenes a class, `<class>/<number>.png`."""
    seed = first_seed
    for name, count in counts.items():
        for k in range(count):
            write(root / name / f"{k:03d}.png", scene(seed, size))
            seed += 1
    return root
