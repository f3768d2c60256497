"""A data set becomes a study: every image is found, decoded once and named if it is broken."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from clinquant.core.errors import ClinquantError
from clinquant.core.progress import Progress, Say
from clinquant.data.covariate_table import with_covariates
from clinquant.data.datasets import READERS, reader_for
from clinquant.data.datasets.listing import Item, Listing, Store
from clinquant.data.decode import FULL_WINDOW, Pixels8, picture
from clinquant.data.fingerprints import Fingerprints, fingerprint, keep
from clinquant.data.groups import FOLDERS, grouping_notes, with_folder_groups, with_groups
from clinquant.data.pixels import content_sha256
from clinquant.data.positive import positive_class
from clinquant.data.study import Case, Source, Study

BATCH = 64
"""Images handed to the decoding threads at a time, a thread: few enough that an interrupt is quick."""

BROKEN = ("image-broken", "image-missing", "image-too-large", "image-mode")
"""Errors of a single image, which `skip_broken` leaves out."""


def read_study(
    data: str | Path,
    *,
    groups: str | Path | None = None,
    group_column: str | None = None,
    covariates: str | Path | None = None,
    positive: str | None = None,
    grey_window: tuple[int, int] | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Study:
    """The labelled cases of a data set, each decoded once.

    Args:
        data: a folder, a `.csv` manifest, an `.npz` file, the name of a MedMNIST set, or `br35h` (also `demo`).
        groups: CSV with `path` and the patient (or group) of every image; its `split` column is honoured. Or `folders`: every sub-folder
            of a class folder is a patient.
        group_column: the group's column in that CSV, or in the manifest that `data` is.
        covariates: CSV with what is known of the images or their patients, for subgroups (see `with_covariates`).
        positive: the diseased class of two; by default told from the names (see `positive_class`).
        grey_window: 16-bit levels that become 0 and 255; by default the full range.
        skip_broken: leave out images that cannot be read and list them in `Study.broken`, instead of ending.
        progress: called with (images read, images in all).
        say: told, before a download, its size, time and place.

    Raises:
        ClinquantError: `data-missing`, `data-kind`, `data-empty`, `one-class`, `image-broken` naming the first broken image, and what
            the readers, `with_groups` and `with_covariates` raise.
    """
    listing = reader_for(str(data)).listing(str(data), say)
    window = grey_window or FULL_WINDOW
    source = Source(kind=listing.kind, path=listing.path, grey_window=window)
    items, group_notes = _grouped(listing, groups, group_column)
    items, covariate_notes = with_covariates(items, Path(covariates), group_column) if covariates else (items, ())
    index, positive_note = positive_class(listing.classes, positive)
    draft = Study(
        name=listing.name,
        task="binary" if len(listing.classes) == 2 else "multi-class",
        classes=listing.classes,
        positive=index,
        source=source,
        cases=(),
        licence=listing.licence,
    )
    seen = list(_examined(items, READERS[listing.kind].store(source), window, progress))
    broken = {case: error.message for case, error in seen if isinstance(error, ClinquantError)}
    if broken and not skip_broken:
        raise _broken(broken, next(error for _, error in seen if isinstance(error, ClinquantError)), listing)
    found = [image for _, image in seen if isinstance(image, _Image)]
    cases = tuple(image.case for image in found)
    _refuse_vanished(listing, cases)
    keep(cases, window, Fingerprints.stack([image.print for image in found]))
    notes = (
        *listing.notes,
        *group_notes,
        *covariate_notes,
        positive_note,
        _window_note(found, window),
        _frames_note(found),
    )
    return replace(draft, cases=cases, broken=broken, notes=tuple(note for note in notes if note))


def _grouping(listing: Listing, groups: str | Path | None, column: str | None) -> Path | None:
    """The CSV that names the groups: its own, or the manifest when a column of it was named; None where nothing was asked."""
    if groups is not None or column is None:
        return None if groups is None else Path(groups)
    if listing.kind != "csv":
        raise ClinquantError(
            "groups-missing",
            f"there is no CSV in which the column {column!r} could name the group of an image.",
            fix="give --groups CSV beside --group-column, or a manifest as DATA.",
        )
    return Path(listing.path)


def _grouped(listing: Listing, groups: str | Path | None, column: str | None) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The listing's items with their groups, and sentences on it."""
    if str(groups) == FOLDERS:
        return with_folder_groups(listing)
    grouping = _grouping(listing, groups, column)
    return with_groups(listing.items, grouping, column) if grouping else (listing.items, grouping_notes(listing))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    case: Case
    print: tuple[bytes, Pixels8]
    levels: tuple[int, int] | None
    frames: int


def _examined(
    items: Sequence[Item], store: Store, window: tuple[int, int], progress: Progress | None
) -> Iterator[tuple[str, _Image | ClinquantError]]:
    """Every item's case and fingerprint, or its error, in order; Pillow decodes outside Python's lock, so threads suffice."""
    threads = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), BATCH * threads):
            batch = items[start : start + BATCH * threads]
            for done, image in enumerate(pool.map(lambda item: _examine(item, store, window), batch), start + 1):
                yield items[done - 1].id, image
                if progress:
                    progress(done, len(items))


def _examine(item: Item, store: Store, window: tuple[int, int]) -> _Image | ClinquantError:
    try:
        data = store.get(item.id)
        found = picture(data, window, name=item.id)
    except ClinquantError as error:
        if error.code not in BROKEN:
            raise
        return error
    height, width = found.pixels.shape[:2]
    case = Case(
        id=item.id,
        label=item.label,
        sha256=content_sha256(data),
        width=width,
        height=height,
        mode=found.mode,
        group=item.group,
        split=item.split,
        site=item.site,
        covariates=item.covariates,
    )
    return _Image(case=case, print=fingerprint(found.pixels), levels=found.levels, frames=found.frames)


def _broken(broken: dict[str, str], first: ClinquantError, listing: Listing) -> ClinquantError:
    fix = (first.code == "image-missing" and listing.kind == "csv" and _meant(Path(listing.path).parent, next(iter(broken)))) or first.fix
    if len(broken) == 1:
        return ClinquantError(first.code, first.message, fix=fix, exit_code=first.exit_code)
    names = ", ".join(list(broken)[1:4]) + (" ..." if len(broken) > 4 else "")
    return ClinquantError(first.code, f"{first.message} {len(broken)} images are so: also {names}", fix=fix, exit_code=first.exit_code)


def _meant(root: Path, case: str) -> str | None:
    """What a manifest may mean by a path that is not there: one with an ending, in other letters, or below the working directory."""
    place = root / case
    if Path(case).is_file():
        return f"paths are relative to the folder of the CSV, {root}, and not to where you are: write them so, or move the CSV."
    if not place.parent.is_dir():
        return None
    near = (each for each in sorted(place.parent.iterdir()) if place.name.lower() in (each.name.lower(), each.stem.lower()))
    found = next(near, None)
    return (
        None
        if found is None
        else f"is {found.relative_to(root).as_posix()} meant? Write paths with their ending, in the letters of the disk."
    )


def _refuse_vanished(listing: Listing, cases: tuple[Case, ...]) -> None:
    left = {case.label for case in cases}
    gone = [name for label, name in enumerate(listing.classes) if label not in left]
    if len(left) < 2:
        raise ClinquantError(
            "one-class",
            f"{listing.path} has readable images of {len(left)} class; none of {', '.join(gone)}.",
            fix="give images of at least two classes.",
        )


NARROW = 64
"""Grey levels of 256 below which the pictures of a data set have lost most of what their 16 bits held."""


def _window_note(found: Sequence[_Image], window: tuple[int, int]) -> str:
    """How deep grey becomes 8 bits, and what is lost by it: too few levels left, or levels outside the window."""
    deep = [image.levels for image in found if image.levels is not None]
    if not deep:
        return ""
    low, high = min(low for low, _ in deep), max(high for _, high in deep)
    note = f"{len(deep)} images of 16-bit grey: levels {window[0]} to {window[1]} become 0 to 255."
    left = 1 + int(255 * (min(high, window[1]) - max(low, window[0])) / (window[1] - window[0]))
    narrow, cut = left < NARROW and high > low, window == FULL_WINDOW and (low < window[0] or high > window[1])
    if not narrow and not cut:
        return note
    lost = f"of 256 grey levels {max(left, 0)} are used" if narrow else "the others are cut off"
    return (
        f"{note} They hold {low} to {high}, so {lost}: say --grey-window {min(low, 0)} {max(_full_scale(high), 255)}, or your own window."
    )


def _full_scale(level: int) -> int:
    """The highest level of the fewest bits that hold `level`: 4095 for 3071."""
    return int((1 << max(level, 1).bit_length()) - 1)


def _frames_note(found: Sequence[_Image]) -> str:
    several = [image.case.id for image in found if image.frames > 1]
    if not several:
        return ""
    if len(several) == 1:
        return f"1 image holds several frames or pages ({several[0]}): only the first is read."
    return f"{len(several)} images hold several frames or pages (the first is {several[0]}): only the first of each is read."
