"""The one exception a user sees: a stable code, one line of what is wrong, one line that fixes it."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    INTERNAL = 1
    """A fault of clinquant itself; the only case that prints a traceback."""
    INPUT = 2
    """The command, the data or an artifact is wrong and the user can mend it."""
    NOT_PROVEN = 3
    """A primary claim is not NON_INFERIOR (`compare`, `build --strict`)."""
    REFUSED = 4
    """A bundle or artifact failed its integrity check."""
    ENVIRONMENT = 5
    """Disk, permissions, a lock, the network or a missing extra."""
    INTERRUPTED = 130
    """Ctrl-C; the run can be resumed."""


class ClinquantError(Exception):
    """What is wrong, and what to do about it.

    Args:
        code: stable, kebab-case, `room-problem` (for example `data-empty`); documented in docs/errors.md.
        message: one line: what, where, what was expected, what came.
        fix: one line that the reader can act on.
        exit_code: what the command line exits with.
    """

    def __init__(self, code: str, message: str, *, fix: str, exit_code: Exit = Exit.INPUT) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"[{self.code}] {self.message} Fix: {self.fix}"


def missing_extra(module: str, extra: str) -> ClinquantError:
    """The error for an optional dependency that is not installed."""
    return ClinquantError(
        "extra-missing",
        f"the Python package {module!r} is not installed.",
        fix=f'pip install "clinquant[{extra}]"',
        exit_code=Exit.ENVIRONMENT,
    )
