"""Tells on standard error what a run does, so that standard output holds nothing but the result."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from clinquant.cli.progress import progress
from clinquant.core.progress import Progress


class Narrator:
    """Sentences and progress for a person; silent with `--json`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, line: str) -> None:
        """One plain sentence."""
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def progress(self, label: str) -> AbstractContextManager[Progress]:
        """A callback `(done, total)` for the time that `label` takes."""
        return progress(label, quiet=self._quiet)
