"""Where findings are in a picture: masks drawn by hand, or boxes, for the pointing game."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from clinquant.core.errors import ClinquantError
from clinquant.data.decode import IMAGE_SUFFIXES
from clinquant.data.table import PATH_COLUMNS, Table, read_table

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]

ENDING = re.compile(r"[_-]mask([_-]?\d+)?$", re.IGNORECASE)
"""What may follow the image's name in a mask's: `_mask`, `_mask_1`, `-mask2`."""

CORNERS = ("x", "y", "width", "height")
"""Columns of a box, in pixels of the stored picture from its upper left corner."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mask file or box, and the folder that its picture is in (empty where that is not said)."""

    folder: str
    shape: Path | Box


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Masks or boxes by the name of their picture.

    Attributes:
        findings: stem of the picture, in small letters -> its masks or boxes, which are laid over one another.
    """

    findings: dict[str, tuple[Finding, ...]]

    def of(self, case: str, size: tuple[int, int], side: int, *, alone: bool = True) -> Mask | None:
        """Where the findings of a picture are on the network's input, bool [side, side]; None without one.

        Args:
            case: id or path of the picture.
            size: width and height of the stored picture.
            side: of the network's input.
            alone: whether no other picture bears its name; where one does, the mask must lie in a folder of the same name too.
        """
        drawn = [_drawn(each.shape, size, side) for each in self._of(case, alone)]
        mask = np.any(drawn, axis=0) if drawn else np.zeros((1, 1), np.bool_)
        return np.asarray(mask, np.bool_) if mask.any() else None

    def knows(self, case: str) -> bool:
        """Whether there is a mask, be it black, or a box for a picture."""
        return bool(self._of(case, True))

    def sha256(self, cases: Sequence[str]) -> str:
        """Of all that is known of these cases' findings."""
        known = hashlib.sha256()
        for case in sorted(cases):
            known.update(case.encode())
            for each in self._of(case, True):
                known.update(each.shape.read_bytes() if isinstance(each.shape, Path) else repr(each.shape).encode())
        return known.hexdigest()

    def _of(self, case: str, alone: bool) -> list[Finding]:
        found = self.findings.get(stem(case), ())
        same = [each for each in found if each.folder and each.folder == _folder(case)]
        return same or ([each for each in found if not each.folder or each.folder == found[0].folder] if alone else [])


def stem(case: str) -> str:
    """What a picture's mask is named by."""
    return _path(case).stem.lower()


def _folder(case: str) -> str:
    return _path(case).parent.name.lower()


def _path(case: str) -> PurePosixPath:
    return PurePosixPath(case.replace("\\", "/"))


def read_masks(place: Path) -> Masks:
    """The masks of a folder, with its sub-folders, or the boxes of a CSV.

    A mask bears its picture's name, with or without `_mask` and a number after it, and is not black where the finding is. A CSV has a
    column of `PATH_COLUMNS` and `x`, `y`, `width`, `height`, one row a box.

    Raises:
        ClinquantError: `masks-missing` where there is neither, `csv-broken`, `csv-column`, `csv-value`.
    """
    if place.is_dir():
        return Masks(findings=_files(place))
    if place.suffix.lower() == ".csv":
        return Masks(findings=_boxes(read_table(place)))
    raise ClinquantError(
        "masks-missing",
        f"{place} is neither a folder of masks nor a CSV of boxes.",
        fix=f"give a folder, or a CSV with path, {', '.join(CORNERS)}.",
    )


def _files(folder: Path) -> dict[str, tuple[Finding, ...]]:
    """Where masks lie among the pictures themselves, those marked as masks alone."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            found.setdefault(ENDING.sub("", path.stem).lower(), []).append(path)
    marked = {name: [path for path in paths if ENDING.search(path.stem)] for name, paths in found.items()}
    return {
        name: tuple(Finding(folder="" if path.parent == folder else path.parent.name.lower(), shape=path) for path in marked[name] or paths)
        for name, paths in found.items()
    }


def _boxes(table: Table) -> dict[str, tuple[Finding, ...]]:
    paths = table.paths(next((name for name in PATH_COLUMNS if table.optional(name) is not None), "path"))
    corners = [[_number(table, cell) for cell in table.required(name)] for name in CORNERS]
    found: dict[str, list[Finding]] = {}
    for path, x, y, width, height in zip(paths, *corners, strict=True):
        found.setdefault(stem(path), []).append(Finding(folder=_folder(path), shape=(x, y, width, height)))
    return {name: tuple(boxes) for name, boxes in found.items()}


def _number(table: Table, cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise ClinquantError("csv-value", f"{table.path}: {cell!r} is no number of pixels.", fix="give boxes in pixels.") from error


def _drawn(shape: Path | Box, size: tuple[int, int], side: int) -> Mask:
    return _painted(shape, side) if isinstance(shape, Path) else _boxed(shape, size, side)


def _painted(path: Path, side: int) -> Mask:
    """Where a mask is not black; a finding that is lost at the network's size keeps the positions that it touches."""
    try:
        with Image.open(path) as opened:
            white = opened.convert("L").point(lambda level: 255 if level else 0)
    except (OSError, UnidentifiedImageError) as error:
        raise ClinquantError("image-broken", f"{path} cannot be read ({error}).", fix="mend the mask, or remove it.") from error
    mask = np.asarray(white.resize((side, side), Image.Resampling.NEAREST)) > 0
    return mask if mask.any() else np.asarray(white.resize((side, side), Image.Resampling.BOX)) > 0


def _boxed(box: Box, size: tuple[int, int], side: int) -> Mask:
    """Positions that a box touches."""
    x, y, width, height = box
    across, down = side / size[0], side / size[1]
    mask = np.zeros((side, side), np.bool_)
    mask[int(max(y, 0) * down) : int(np.ceil((y + height) * down)), int(max(x, 0) * across) : int(np.ceil((x + width) * across))] = True
    return mask
