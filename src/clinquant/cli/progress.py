"""Progress with time left, on standard error; plain lines where that is no terminal, nothing with `--json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from clinquant.core.progress import Progress


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Progress]:
    """A callback `(done, total)` that shows how far `label` is."""
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(label) as tick:
            yield tick
    else:
        yield _Lines(label)


@contextmanager
def _bar(label: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line every ten seconds and one at the end, for logs."""

    EVERY_SECONDS = 10.0

    def __init__(self, label: str) -> None:
        self._label, self._start = label, time.monotonic()
        self._told, self._last = self._start, (0, 0)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        ended = done == total and self._told > self._start
        if self._last == (done, total) or (now - self._told < self.EVERY_SECONDS and not ended):
            return
        self._told, self._last = now, (done, total)
        left = (now - self._start) * (total - done) / max(done, 1)
        print(f"{self._label}: {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)
