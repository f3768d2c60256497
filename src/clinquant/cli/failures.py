"""Every way a command can end badly, as one line with a code and one line that mends it."""

from __future__ import annotations

import difflib
import errno
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from clinquant.core.artifact import writing_to
from clinquant.core.errors import ClinquantError, Exit, missing_extra

EXTRAS = {
    "torch": "lab",
    "safetensors": "lab",
    "jinja2": "report",
    "timm": "timm",
    **dict.fromkeys(("starlette", "uvicorn", "h11", "python_multipart", "prometheus_client", "cryptography"), "serve"),
}
"""Optional module -> the extra that brings it."""


def explain(error: BaseException) -> ClinquantError:
    """The failure a user is told of. A fault of clinquant itself has its traceback written to a file."""
    if isinstance(error, ClinquantError):
        return error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return ClinquantError(
            "interrupted",
            "stopped before the end.",
            fix="run the same command again to resume; finished steps are kept.",
            exit_code=Exit.INTERRUPTED,
        )
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, MemoryError):
        return ClinquantError(
            "memory-full", "not enough memory.", fix="close other programs, or give a smaller --size.", exit_code=Exit.ENVIRONMENT
        )
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRAS:
        module = (error.name or "").partition(".")[0]
        return missing_extra(module, EXTRAS[module])
    return _of_the_system(error) or _internal(error)


def tell(failure: ClinquantError, *, as_json: bool) -> None:
    """Two lines on standard error; with `as_json` also an object on standard output."""
    if as_json:
        print(json.dumps({"error": {"code": failure.code, "message": failure.message, "fix": failure.fix}}))
    print(f"error[{failure.code}]: {_one_line(failure.message)}\nfix: {_one_line(failure.fix)}", file=sys.stderr)


def _usage(error: click.ClickException) -> ClinquantError:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "clinquant"
    fix = f"see '{command} --help'."
    if isinstance(error, click.NoSuchOption):
        if error.possibilities:
            near = difflib.get_close_matches(error.option_name, error.possibilities, n=1) or error.possibilities
            fix = f"did you mean {near[0]}? {fix}"
        return ClinquantError("option-unknown", f"there is no option {error.option_name}.", fix=fix)
    return ClinquantError("usage", error.format_message(), fix=fix)


def _of_the_system(error: BaseException) -> ClinquantError | None:
    """The operating system's refusals to write; None for anything else, such as a file that we expected and that is not there."""
    if os.strerror(errno.ENOSPC) in str(error):  # libraries that write by themselves wrap it in errors of their own
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), getattr(error, "filename", None))
    if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
        return None
    try:
        with writing_to(error.filename or "the output"):
            raise error
    except ClinquantError as failure:
        return failure
    except OSError:
        return None


def _internal(error: BaseException) -> ClinquantError:
    place = _write_traceback(error)
    return ClinquantError(
        "internal",
        f"a fault of clinquant: {type(error).__name__}: {error}",
        fix=f"please report it, with the file {place}." if place else "please report it.",
        exit_code=Exit.INTERNAL,
    )


def _write_traceback(error: BaseException) -> Path | None:
    name = f"clinquant-fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        path = Path(tempfile.gettempdir()) / name
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return None
    return path


def _one_line(text: str) -> str:
    return " ".join(text.split())
