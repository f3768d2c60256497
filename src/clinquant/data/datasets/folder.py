"""Image folders: one sub-folder a class, also with train, val, test above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Say
from clinquant.data.datasets.listing import Item, Listing
from clinquant.data.decode import EXPORT_DICOM, IMAGE_SUFFIXES, is_dicom
from clinquant.data.masks import ENDING
from clinquant.data.order import counting
from clinquant.data.role import role
from clinquant.data.study import Source


@dataclass(frozen=True)
class Folder:
    """`DATA/<class>/**/image`, or `DATA/<split>/<class>/**/image` with train, val(idation), tune, dev, test(ing) in any case."""

    def accepts(self, data: str) -> bool:
        """True for a folder."""
        return Path(data).is_dir()

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """The images below `data`. Raises ClinquantError `data-empty`, `folder-ambiguous`."""
        root = Path(data).resolve()
        return list_folder(root, kind="folder", name=root.name)

    def store(self, source: Source) -> FileStore:
        """Files below the study's folder."""
        return FileStore(Path(source.path))


@dataclass(frozen=True)
class FileStore:
    """Image files named relative to `root`."""

    root: Path

    def get(self, case_id: str) -> bytes:
        """The file's bytes. Raises ClinquantError `image-missing`."""
        try:
            return (self.root / case_id).read_bytes()
        except OSError as error:
            raise ClinquantError(
                "image-missing",
                f"{case_id} cannot be read below {self.root} ({error.strerror}).",
                fix="put the file there, correct its name (in a CSV, relative to the CSV's folder), or leave it out with --skip-broken.",
            ) from error


def list_folder(root: Path, *, kind: str, name: str, licence: str = "not stated") -> Listing:
    """The images of a folder, classes sorted by name.

    Raises:
        ClinquantError: `data-empty` without any image in a sub-folder, `folder-ambiguous` when only some of the sub-folders
            are named as splits.
    """
    images, others = _found(root)
    pictures, masks = _without_masks(images)
    nested = [path for path in pictures if "/" in path]
    if not nested:
        raise _empty(root, images, others)
    with_split = _has_split_level(root, {path.split("/", 1)[0] for path in nested})
    depth = 2 if with_split else 1
    inside = [path for path in nested if path.count("/") >= depth]
    if not inside:
        raise _empty(root, images, others)
    classes = tuple(sorted({path.split("/")[depth - 1] for path in inside}, key=counting))
    index = {label: k for k, label in enumerate(classes)}
    items = tuple(
        Item(id=path, label=index[path.split("/")[depth - 1]], split=role(path.split("/", 1)[0]) if with_split else None) for path in inside
    )
    notes = (*_notes(root, others, len(pictures) - len(inside)), *_mask_notes(masks))
    return Listing(name=name, kind=kind, path=str(root), classes=classes, items=items, licence=licence, notes=notes)


def _without_masks(images: list[str]) -> tuple[list[str], list[str]]:
    """The pictures, and the masks that lie beside the picture whose name they bear (`a_mask.png` beside `a.png`)."""
    stems = {path.rpartition(".")[0] for path in images}
    masks = [path for path in images if (stem := ENDING.sub("", path.rpartition(".")[0])) != path.rpartition(".")[0] and stem in stems]
    left_out = set(masks)
    return [path for path in images if path not in left_out], masks


def _found(root: Path) -> tuple[list[str], list[str]]:
    """Sorted relative paths of image files, and of the rest; hidden files and folders are left out of both."""
    paths = sorted(_walk(root))
    images = [path for path in paths if Path(path).suffix.lower() in IMAGE_SUFFIXES]
    known = set(images)
    return images, [path for path in paths if path not in known]


def _walk(root: Path) -> Iterator[str]:
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back into the tree
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(folder).relative_to(root)
        yield from ((relative / name).as_posix() for name in files if not name.startswith("."))


def _has_split_level(root: Path, tops: set[str]) -> bool:
    splits = {top for top in tops if role(top)}
    if splits and splits != tops and "train" in {role(top) for top in splits}:
        other = sorted(tops - splits)[0]
        raise ClinquantError(
            "folder-ambiguous",
            f"{root} has {', '.join(sorted(splits))} (splits) beside {other} (a class or a split?).",
            fix=f"move {other} away, or give a CSV manifest with the columns path, label and split.",
        )
    return splits == tops


def _notes(root: Path, others: list[str], outside: int) -> tuple[str, ...]:
    notes = []
    if others:
        what = "file that is not an image was" if len(others) == 1 else "files that are not images were"
        notes.append(f"{len(others)} {what} ignored (the first is {others[0]}).{_dicom_note(root, others)}")
    if outside:
        notes.append(
            f"{outside} {'image outside any class folder was' if outside == 1 else 'images outside any class folder were'} ignored."
        )
    return tuple(notes)


def _dicom_note(root: Path, others: list[str]) -> str:
    dicom = sum(is_dicom(root / path) for path in others)
    return f" {dicom} of them {'is' if dicom == 1 else 'are'} DICOM, which is not read: {EXPORT_DICOM}" if dicom else ""


def _mask_notes(masks: list[str]) -> tuple[str, ...]:
    if not masks:
        return ()
    return (f"{len(masks)} masks beside their pictures are no pictures and were left out (the first is {masks[0]}); --masks takes them.",)


def _empty(root: Path, images: list[str], others: list[str]) -> ClinquantError:
    if images:
        found = f"{len(images)} images, but none in a class sub-folder"
    elif dicom := sum(is_dicom(root / path) for path in others):
        raise ClinquantError(
            "data-empty", f"{root} holds no image but DICOM ({dicom} of {len(others)} files), which is not read.", fix=EXPORT_DICOM
        )
    elif others:
        suffix, count = Counter(Path(path).suffix.lower() or "no suffix" for path in others).most_common(1)[0]
        found = f"no image ({count} files with {suffix})"
    else:
        found = "no file"
    return ClinquantError(
        "data-empty",
        f"{root} holds {found}.",
        fix=f"give a folder with one sub-folder a class, holding images ({', '.join(sorted(IMAGE_SUFFIXES))}).",
    )
