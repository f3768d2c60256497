"""Kvasir v1 and v2, gastrointestinal endoscopy (Pogorelov et al. 2017, MMSys, 164-169): the data set of arXiv 2512.17515.

Eight classes of 500 pictures (v1) or 1,000 (v2, which holds those of v1 too). No checksum is published, so the layout is checked instead:
the class folders and how many pictures each holds. No patient ids are published either; pictures come from videos, so that many are nearly
alike: the audit joins near-copies into units before anything is split.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from clinquant.core.artifact import writing_to
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.progress import Say
from clinquant.data.cache import cache_folder, room_for
from clinquant.data.datasets.folder import FileStore, list_folder
from clinquant.data.datasets.listing import Listing
from clinquant.data.study import Source

CLASSES = (
    "dyed-lifted-polyps",
    "dyed-resection-margins",
    "esophagitis",
    "normal-cecum",
    "normal-pylorus",
    "normal-z-line",
    "polyps",
    "ulcerative-colitis",
)
LICENCE = "research and education only, as stated by Kvasir (Pogorelov et al. 2017)"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One release.

    Attributes:
        folder: what its archive unpacks to; the archive is `<folder>.zip`.
        each: pictures of every class.
        megabytes: of the archive, roughly.
    """

    folder: str
    each: int
    megabytes: int


VERSIONS = {
    "kvasir-v1": Version(folder="kvasir-dataset", each=500, megabytes=1_200),
    "kvasir-v2": Version(folder="kvasir-dataset-v2", each=1000, megabytes=2_300),
}


@dataclass(frozen=True)
class Kvasir:
    """`kvasir-v1` and `kvasir-v2`: by name, as their archive or as the folder that it unpacks to.

    Attributes:
        archive: where the archives are fetched from.
    """

    archive: str = "https://datasets.simula.no/downloads/kvasir"

    def accepts(self, data: str) -> bool:
        """True for the names, the archives and their folders."""
        return _version(data) is not None

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """The pictures, fetched first where a name is given and they are not in the cache. Raises as `fetch`, and `kvasir-layout`."""
        name = _version(data)
        assert name is not None
        path = Path(data)
        root = path.resolve() if path.is_dir() else self.unpacked(path, name) if path.is_file() else self.fetch(name, say)
        found = list_folder(root, kind="kvasir", name=name, licence=LICENCE)
        check_layout(root, name, found)
        return found

    def store(self, source: Source) -> FileStore:
        """The pictures' files."""
        return FileStore(Path(source.path))

    def fetch(self, name: str, say: Say | None = None) -> Path:
        """The folder of pictures in the cache, downloaded and unpacked where it is not there.

        Raises:
            ClinquantError: `download-failed`, `disk-full`, `output-unwritable`, and as `unpacked`.
        """
        version, home = VERSIONS[name], cache_folder("downloads")
        if (home / version.folder).is_dir():  # it appears under this name only when it is whole
            return home / version.folder
        archive, url = home / f"{version.folder}.zip", f"{self.archive}/{version.folder}.zip"
        if not archive.is_file():
            room_for(home, 2 * version.megabytes * 10**6, name)
            if say:
                say(f"Fetching {name} from {url}: about {version.megabytes} MB, kept in {home}.")
            _download(url, archive)
        return self.unpacked(archive, name)

    def unpacked(self, archive: Path, name: str) -> Path:
        """The folder of pictures of an archive, in the cache. Raises ClinquantError `kvasir-layout`, `disk-full`, `output-unwritable`."""
        version, home = VERSIONS[name], cache_folder("downloads")
        folder = home / version.folder
        if folder.is_dir():
            return folder
        with writing_to(folder), tempfile.TemporaryDirectory(dir=_made(home), prefix=".kvasir.") as temporary:
            extract(archive, Path(temporary), version)
            check_layout(Path(temporary), name, list_folder(Path(temporary), kind="kvasir", name=name))
            shutil.move(temporary, folder)
            Path(temporary).mkdir()  # what the context removes
        return folder


def _version(data: str) -> str | None:
    """Which release `data` names; a path counts where it stands and bears the published name."""
    path = Path(data)
    if path.is_dir() or path.is_file():
        names = {version.folder: name for name, version in VERSIONS.items()}
        return names.get(path.stem if path.suffix == ".zip" else path.name)
    return {"kvasir": "kvasir-v1"}.get(data.lower(), data.lower() if data.lower() in VERSIONS else None)


def check_layout(root: Path, name: str, found: Listing) -> None:
    """Raises ClinquantError `kvasir-layout` where classes or their numbers of pictures are not the published ones."""
    counts = {label: sum(item.label == index for item in found.items) for index, label in enumerate(found.classes)}
    if counts != dict.fromkeys(CLASSES, VERSIONS[name].each):
        wrong = next(iter(label for label in (*CLASSES, *counts) if counts.get(label) != VERSIONS[name].each or label not in CLASSES))
        raise ClinquantError(
            "kvasir-layout",
            f"{root} is not {name} as published: {wrong} has {counts.get(wrong, 0)} pictures, not "
            f"{VERSIONS[name].each if wrong in CLASSES else 0}.",
            fix="unpack the archive again; for a part of it, rename the folder, and it is read as any folder.",
            exit_code=Exit.REFUSED,
        )


def extract(archive: Path, folder: Path, version: Version) -> None:
    """Writes the archive's pictures, and nothing else of it, into `folder/<class>`. Raises ClinquantError `kvasir-layout`."""
    member = re.compile(rf"{re.escape(version.folder)}/({'|'.join(CLASSES)})/([^/\\]+\.jpg)")
    try:
        with zipfile.ZipFile(archive) as pictures:
            for name in pictures.namelist():
                if match := member.fullmatch(name):
                    path = folder / match[1] / match[2]
                    path.parent.mkdir(exist_ok=True)
                    with pictures.open(name) as source, open(path, "wb") as target:
                        shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise ClinquantError(
            "kvasir-layout", f"{archive} is no whole archive.", fix="delete it and fetch it again.", exit_code=Exit.REFUSED
        ) from error


def _download(url: str, path: Path) -> None:
    """Fetches `url` to `path`, which appears when it is whole. Raises ClinquantError `download-failed`."""
    with writing_to(path):
        partial = _made(path.parent) / f".{path.name}.part"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer, open(partial, "wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)
                expected = answer.headers.get("Content-Length")
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            partial.unlink(missing_ok=True)
            raise _failed(url, str(getattr(error, "reason", error))) from error
        if expected is not None and partial.stat().st_size != int(expected):
            partial.unlink()
            raise _failed(url, "the connection ended too early")
        partial.replace(path)


def _failed(url: str, reason: str) -> ClinquantError:
    return ClinquantError(
        "download-failed",
        f"{url} cannot be fetched ({reason}).",
        fix="download it yourself and give the path of the .zip, or of the folder that it unpacks to.",
        exit_code=Exit.ENVIRONMENT,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
