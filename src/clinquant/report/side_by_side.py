"""Explanations of single pictures: float and integer beside each other as a picture file, and the numbers that go with it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from clinquant.core.artifact import write_bytes
from clinquant.core.predictions import softmax
from clinquant.edge.explain import answers, insertion_and_deletion
from clinquant.edge.runtimes import Session
from clinquant.evidence.maps import gini, pointing_hit, similarities
from clinquant.report.overlay import enlarged, tinted
from clinquant.report.thumbnails import shrunk

Map = NDArray[np.float64]
Explain = Callable[[str, NDArray[np.uint8], int], Map]
"""(name of a file, input pixels, class) -> map."""

GAP, CAPTION = 6, 16
"""Pixels between panels, and above them."""


@dataclass(frozen=True, kw_only=True)
class FileSays:
    """What one file's map is like.

    Attributes:
        probability: of the explained class, 0 to 1.
        insertion, deletion: areas under it while positions are put in or taken out, the greatest of the map first.
        gini: sparsity of what speaks for the class.
        pointing: 1 where the greatest position lies in the mask, 0 where not; None without a mask.
    """

    probability: float
    insertion: float
    deletion: float
    gini: float
    pointing: float | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One picture explained by one method.

    Attributes:
        image: its path as it was found.
        method: how it was explained.
        class_name: the class, the same for every file.
        picture: the file that shows the maps beside each other.
        files: `float` and `integer`, or the latter alone.
        alike: metric of the two maps -> its value; empty where there is one file.
    """

    image: str
    method: str
    class_name: str = field(metadata={"json": "class"})
    picture: str
    files: dict[str, FileSays]
    alike: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """`explanations.json`: all of one call."""

    explanations: tuple[Explanation, ...]
    notice: str


def explain_picture(
    image: str,
    pixels: NDArray[np.uint8],
    label: int,
    class_name: str,
    method: str,
    sessions: Mapping[str, Session],
    explain: Explain,
    out: Path,
    mask: NDArray[np.bool_] | None = None,
) -> Explanation:
    """Explains one picture by every file, writes the picture `out`, and gives the numbers.

    Args:
        image: its path.
        pixels: the network's input pixels, uint8 [s, s, 3].
        label, class_name: the class that is explained.
        method: its name.
        sessions: name -> opened file.
        explain: gives a file's map.
        mask: where the finding is, bool [s, s].
    """
    maps = {file: explain(file, pixels, label) for file in sessions}
    write_bytes(out, beside(pixels, maps, f"{method}, {class_name}"))
    found = list(maps.values())
    return Explanation(
        image=image,
        method=method,
        class_name=class_name,
        picture=str(out),
        files={file: _says(session, pixels, maps[file], label, mask) for file, session in sessions.items()},
        alike={metric: round(function(*found), 5) for metric, function in similarities(found[0].shape).items()} if len(found) == 2 else {},
    )


def _says(session: Session, pixels: NDArray[np.uint8], values: Map, label: int, mask: NDArray[np.bool_] | None) -> FileSays:
    insertion, deletion = insertion_and_deletion(session, pixels, values, label)
    return FileSays(
        probability=round(float(softmax(answers(session, pixels[None]))[0, label]), 6),
        insertion=round(insertion, 5),
        deletion=round(deletion, 5),
        gini=round(gini(np.maximum(values, 0)), 5),
        pointing=None if mask is None else pointing_hit(values, mask),
    )


def beside(pixels: NDArray[np.uint8], maps: Mapping[str, Map], title: str) -> bytes:
    """A PNG: the picture, then every map over it, all on one scale; the title and the files' names above."""
    peak = float(max(np.abs(values).max() for values in maps.values()))
    panels = {title: enlarged(shrunk(pixels)), **{file: tinted(pixels, values, peak) for file, values in maps.items()}}
    height, width = next(iter(panels.values())).shape[:2]
    sheet = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + CAPTION), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (words, panel) in enumerate(panels.items()):
        sheet.paste(Image.fromarray(panel), (column * (width + GAP), CAPTION))
        pen.text((column * (width + GAP) + 2, 2), words.encode("ascii", "replace").decode(), fill="black")
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
