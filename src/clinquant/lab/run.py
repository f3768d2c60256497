"""The run directory: one run at a time, steps that are done once, and a voice that tells what happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from clinquant import __version__
from clinquant.core.artifact import read_json, sha256_file, sha256_json, write_json, writing_to
from clinquant.core.errors import ClinquantError, Exit
from clinquant.core.progress import Progress

LOCK = ".lock"
"""Held by the process that writes into a run's directory."""


class Narrator(Protocol):
    """Who tells the user what happens."""

    def say(self, line: str) -> None:
        """One plain sentence."""

    def progress(self, label: str) -> AbstractContextManager[Progress]:
        """A callback `(done, total)` for the time that `label` takes."""


class Silent:
    """Tells nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def progress(self, label: str) -> AbstractContextManager[Progress]:
        """A callback that does nothing."""
        return nullcontext(lambda done, total: None)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished step: the hash of what went in, the sha256 of every file that came out, and of what was made before (`PARENTS`)."""

    key: str
    files: dict[str, str]
    parents: dict[str, str] = field(default_factory=dict, metadata={"omit_empty": True})


PARENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "quantize": {"float": ("float.safetensors", "float.card.json")},
    "export": {"float": ("float.safetensors", "float.card.json"), "quantized": ("quantized.safetensors", "quantized.json")},
    "prove": {"files": ("float.onnx", "integer.onnx")},
}
"""Step -> name among its inputs -> files of earlier steps: when they change, what the step made is of another network."""


class Run:
    """The directory of one run. A step is made again only when what goes into it has changed, or what came out of it is gone."""

    def __init__(self, directory: Path | str, narrator: Narrator | None = None) -> None:
        self.directory = Path(directory)
        self.narrator: Narrator = narrator or Silent()

    def path(self, name: str) -> Path:
        """A file of the run."""
        return self.directory / name

    def step(self, name: str, inputs: Mapping[str, Any], files: tuple[str, ...], make: Callable[[], None]) -> bool:
        """Calls `make`, which must write `files`, unless this step was finished with the same `inputs`; True when it was called.

        Args:
            name: of the step; its record is `steps/<name>.json`.
            inputs: everything that decides the outcome: options and the hashes of parents (`self.sha256`).
            files: names in the directory.
        """
        record, key = self.path(f"steps/{name}.json"), sha256_json({"clinquant": __version__, **inputs})
        if self._is_done(record, key, files):
            self.narrator.say(f"{name}: done before, kept.")
            return False
        record.unlink(missing_ok=True)
        make()
        parents = {parent: inputs[parent] for parent in PARENTS.get(name, {})}
        write_json(record, Done(key=key, files={file: self.sha256(file) for file in files}, parents=parents), kind="step")
        return True

    def outdated(self, name: str) -> str | None:
        """Which of its parents has changed since the step `name` was finished; None where none has, or it was not finished."""
        done = self._record(self.path(f"steps/{name}.json"))
        for parent, files in PARENTS.get(name, {}).items() if done else ():
            there = all(self.path(file).is_file() for file in files)
            if done and there and done.parents.get(parent, self.sha256(*files)) != self.sha256(*files):
                return parent
        return None

    def sha256(self, *names: str) -> str:
        """sha256 of a file of the run; of several, of their hashes. Raises ClinquantError `artifact-missing`."""
        for name in names:
            if not self.path(name).is_file():
                raise ClinquantError(
                    "artifact-missing", f"{self.path(name)} does not exist.", fix="run the step before this one, or 'clinquant build'."
                )
        hashes = [sha256_file(self.path(name)) for name in names]
        return hashes[0] if len(hashes) == 1 else sha256_json(hashes)

    def _is_done(self, record: Path, key: str, files: tuple[str, ...]) -> bool:
        done = self._record(record)
        if done is None or done.key != key:
            return False
        return all(self.path(file).is_file() and sha256_file(self.path(file)) == done.files.get(file) for file in files)

    def _record(self, record: Path) -> Done | None:
        """A step's record; None where it was not finished, or the record cannot be read and so proves nothing."""
        try:
            return read_json(record, Done, kind="step")
        except ClinquantError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            ClinquantError: `output-foreign` when the directory holds something else, `output-busy` when another run holds it,
                `output-unwritable`.
        """
        with writing_to(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in self.directory.iterdir()}
            if names - {LOCK} and not names & {"steps", LOCK}:
                raise ClinquantError(
                    "output-foreign",
                    f"{self.directory} holds other files ({sorted(names)[0]}, ...).",
                    fix="give an --out that is new, empty or a run of clinquant.",
                    exit_code=Exit.ENVIRONMENT,
                )
            handle = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(handle):
                raise ClinquantError(
                    "output-busy",
                    f"another run is writing to {self.directory}.",
                    fix="wait for it to end, or give another --out.",
                    exit_code=Exit.ENVIRONMENT,
                )
            yield
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Takes an exclusive lock without waiting."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
