"""What a reader finds before any pixel is decoded, and how pixels are fetched afterwards: the contract of every source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from clinquant.core.progress import Say
from clinquant.data.study import Source

"""Takes one plain sentence for the user, for example before a download."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A labelled image that is known by name only; fields as in `Case`."""

    id: str
    label: int
    group: str | None = None
    split: str | None = None
    site: str | None = None
    covariates: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A data set's images by name.

    Attributes:
        name: short name for people.
        kind: the reader's name in `READERS`.
        path: absolute path of the folder or file that `Reader.store` opens.
        classes: names; an item's label is an index into them.
        items: sorted by id.
        licence: as stated by the source, or `not stated`.
        notes: plain sentences, for example how many files are not images.
    """

    name: str
    kind: str
    path: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    licence: str = "not stated"
    notes: tuple[str, ...] = ()


class Store(Protocol):
    """An opened source."""

    def get(self, case_id: str) -> bytes | NDArray[Any]:
        """The encoded bytes of an image file, or a row of an array. Raises ClinquantError `image-missing`."""
        ...


class Reader(Protocol):
    """One kind of source."""

    def accepts(self, data: str) -> bool:
        """True when `data` (a path or a name) is of this kind."""
        ...

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """What is in `data`; fetches it first where that is needed."""
        ...

    def store(self, source: Source) -> Store:
        """The opened source of a study."""
        ...
