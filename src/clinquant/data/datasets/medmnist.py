"""MedMNIST `.npz` files, by path or by published name (Yang et al. 2023, Scientific Data 10, 41)."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinquant.core.artifact import replacing
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.progress import Say
from clinquant.data.cache import cache_folder, room_for
from clinquant.data.datasets.listing import Item, Listing
from clinquant.data.datasets.medmnist_info import ARCHIVE, INFO, Info
from clinquant.data.role import role
from clinquant.data.study import Source

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class MedMNIST:
    """Arrays `train_images`, `train_labels`, and the same for `val` and `test`, in one `.npz` file."""

    archive: str = field(default=ARCHIVE)

    def accepts(self, data: str) -> bool:
        """True for a path that ends in `.npz`, and for the name of a published set."""
        return Path(data).suffix.lower() == ".npz" or data.lower() in INFO

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """The rows of the file; a published name is downloaded first, once.

        Raises:
            ClinquantError: `npz-invalid`, `multi-label`, `download-failed`, `download-checksum`.
        """
        name = data.lower() if data.lower() in INFO else _published_name(Path(data))
        info = INFO.get(name or "")
        if info is not None and not info.classes:
            raise ClinquantError(
                "multi-label", f"{name} gives an image several labels at once, which no task here has.", fix="choose another data set."
            )
        path = Path(data) if Path(data).suffix.lower() == ".npz" else self.fetch(data.lower(), say)
        items, classes = _items(ArrayStore(path), info)
        return Listing(
            name=path.stem,
            kind="medmnist",
            path=str(path.resolve()),
            classes=classes,
            items=items,
            licence=info.licence if info else "not stated",
        )

    def store(self, source: Source) -> ArrayStore:
        """The arrays of the study's file."""
        return ArrayStore(Path(source.path))

    def fetch(self, name: str, say: Say | None = None) -> Path:
        """The published file in the cache, its md5 checked; says what it downloads before it does.

        Raises:
            ClinquantError: `download-failed`, `download-checksum`, `disk-full`.
        """
        path = cache_folder("downloads") / f"{name}.npz"
        if path.is_file() and _md5(path) == INFO[name].md5:
            return path
        url = f"{self.archive}/{name}.npz?download=1"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                _save(answer, path, name, say)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise ClinquantError(
                "download-failed",
                f"{url} cannot be fetched ({getattr(error, 'reason', error)}).",
                fix=f"download {name}.npz where there is a connection, and give its path instead of the name.",
                exit_code=Exit.ENVIRONMENT,
            ) from error
        return path


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """The arrays of one file, each read once, when it is first asked for."""

    path: Path
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_arrays": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def array(self, name: str) -> NDArray[Any]:
        """The array `name`. Raises ClinquantError `npz-invalid`."""
        if name not in self._arrays:
            try:
                with np.load(self.path, allow_pickle=False) as file:
                    self._arrays[name] = file[name]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
                raise _invalid(self.path, f"{name} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
        return self._arrays[name]

    def names(self) -> tuple[str, ...]:
        """The arrays there are. Raises ClinquantError `npz-invalid`."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return tuple(file.files)
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise _invalid(self.path, "it is not a readable .npz archive") from error

    def get(self, case_id: str) -> NDArray[Any]:
        """The row `<part>/<row>`."""
        part, _, row = case_id.partition("/")
        images = self.array(f"{part}_images")
        if not row.isdigit() or int(row) >= len(images):
            raise ClinquantError("image-missing", f"{self.path} has no image {case_id}.", fix="read the data set again.")
        return np.asarray(images[int(row)])


def _items(store: ArrayStore, info: Info | None) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    parts = [part for part in PARTS if f"{part}_images" in store.names()]
    if not parts:
        raise _invalid(store.path, f"it has {', '.join(store.names()) or 'no array'}")
    labels = {part: _labels(store, part) for part in parts}
    count = max(int(values.max(initial=-1)) for values in labels.values()) + 1
    if info is not None and count > len(info.classes):
        raise _invalid(store.path, f"a label is {count - 1}, but the published set has {len(info.classes)} classes")
    classes = info.classes if info is not None else tuple(str(k) for k in range(count))
    given = set(parts) != {"train"}
    items = [
        Item(id=f"{part}/{row}", label=int(label), split=role(part) if given else None)
        for part, values in labels.items()
        for row, label in enumerate(values)
    ]
    return tuple(sorted(items, key=lambda item: item.id)), classes


def _labels(store: ArrayStore, part: str) -> NDArray[np.int64]:
    images, labels = store.array(f"{part}_images"), store.array(f"{part}_labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise ClinquantError(
            "multi-label", f"{store.path} gives an image {labels.shape[1]} labels at once, which no task here has.", fix="choose one label."
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images) or (labels < 0).any():
        raise _invalid(store.path, f"{part}_labels is {labels.dtype} {list(labels.shape)} for {len(images)} images")
    if images.dtype not in (np.uint8, np.uint16) or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise _invalid(store.path, f"{part}_images is {images.dtype} {list(images.shape)}")
    return labels.astype(np.int64)


def _invalid(path: Path, found: str) -> ClinquantError:
    return ClinquantError(
        "npz-invalid",
        f"{path}: {found}.",
        fix="give train_images uint8 or uint16 [n, h, w] or [n, h, w, 3] and train_labels [n] from 0 up; the same for val and test.",
    )


def _published_name(path: Path) -> str | None:
    """The published set that a file's name begins with: `pneumoniamnist_rebuilt.npz` is `pneumoniamnist`."""
    stem = path.stem.lower()
    return next((name for name in INFO if stem == name or stem.startswith((f"{name}_", f"{name}-", f"{name}."))), None)


def _save(answer: Any, path: Path, name: str, say: Say | None) -> None:
    info = INFO[name]
    size = int(answer.headers.get("Content-Length") or info.images * info.channels * 28 * 28)
    room_for(path.parent, size, f"{name}.npz")
    if say:
        say(f"Downloading {name}.npz: {size / 1e6:.0f} MB, {_minutes(size)} at 10 Mbit/s; kept in {path.parent}.")
    with replacing(path) as temporary:
        with open(temporary, "wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
        if _md5(temporary) != info.md5:
            raise ClinquantError(
                "download-checksum",
                f"the downloaded {name}.npz has md5 {_md5(temporary)}, published is {info.md5}.",
                fix="run the same command again; if it stays so, the connection changes the file.",
                exit_code=Exit.REFUSED,
            )


def _minutes(size: int) -> str:
    seconds = size * 8 / 10e6
    return f"about {max(1, round(seconds))} s" if seconds < 90 else f"about {round(seconds / 60)} min"


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
