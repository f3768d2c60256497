"""The study that the paper owes (arXiv 2512.17515): every way, at every width, on every seed, one row of a table each."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from clinquant.core.artifact import dump_json, write_json, write_text
from clinquant.core.errors import ClinquantError
from clinquant.lab.objectives import SaliencyGuided
from clinquant.lab.run import Narrator, Silent
from clinquant.lab.study.cell import Cell, Source
from clinquant.lab.study.page import page, plots
from clinquant.lab.study.row import make_row
from clinquant.lab.study.table import Table
from clinquant.lab.study.ways import BITS, WAYS, Key, planned

TABLE, PAGE = "study.csv", "study.md"
KEY = tuple(each.name for each in fields(Key))


@dataclass(frozen=True, kw_only=True)
class PaperStudy:
    """What a study is asked for.

    Attributes:
        sources: data sets; the first is made first.
        arch: architecture; the authors' own, ResNet-20, by default.
        seeds: of everything; each is complete before the next begins. The noise floor of the last is the first.
        bits, ways: keys of `WIDTHS` or `MIXED`, and of `WAYS`.
        views: image views after float training, as `Cell` has it.
        explained: test images that are explained, of each set.
        guidance: numbers of saliency-guided training.
    """

    sources: tuple[Source, ...]
    arch: str = "resnet20"
    seeds: tuple[int, ...] = (0, 1, 2)
    bits: tuple[str, ...] = BITS
    ways: tuple[str, ...] = tuple(WAYS)
    views: int | None = None
    explained: int = 200
    guidance: SaliencyGuided = field(default_factory=SaliencyGuided)

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        unknown = [way for way in self.ways if way not in WAYS]
        if not names or len(set(names)) < len(names) or not self.seeds or unknown or self.explained < 2:
            raise ClinquantError(
                "study-invalid",
                f"a study of {', '.join(names) or 'nothing'}, seeds {self.seeds}, ways {self.ways}.",
                fix=f"give sets of different names, a seed or more, 2 explained images or more, and ways among {', '.join(WAYS)}.",
            )

    def rows(self) -> list[Key]:
        """Every row, in the order they are made."""
        return planned(tuple(source.name for source in self.sources), self.arch, self.seeds, self.bits, self.ways)

    def cell(self, key: Key, out: Path, *, seed: int | None = None) -> Cell:
        """Where a row is made, or the same of another seed."""
        source = next(source for source in self.sources if source.name == key.set)
        return Cell(source, self.arch, key.seed if seed is None else seed, out, self.views, self.guidance)

    def other_seed(self, seed: int) -> int:
        """Whose float network is the noise floor of `seed`."""
        return self.seeds[(self.seeds.index(seed) + 1) % len(self.seeds)] if len(self.seeds) > 1 else seed + 1


def run_study(
    asked: PaperStudy, out: Path, *, processes: int = 1, threads: int = 1, narrator: Narrator | None = None, command: str = ""
) -> Table:
    """Makes the rows that are missing from `out`/study.csv, and the page of all.

    A row is written as soon as it is known, so that the same command goes on where it was stopped.

    Args:
        processes: rows of different sets and seeds are made side by side.
        threads: of each process.
        command: kept in the table's first lines.
    """
    narrator = narrator or Silent()
    _same(asked, out)
    table = Table(out / TABLE, KEY, command)
    missing = [key for key in asked.rows() if asdict(key) not in table]
    narrator.say(f"{len(asked.rows())} rows, {len(missing)} missing.")
    began = time.monotonic()
    with narrator.progress("study") as tick:
        for done, (key, row) in enumerate(_made(asked, out, missing, processes, threads), 1):
            table.add(row)
            write_page(table, out)
            narrator.say(f"{told(key, row)} {_left(began, done, len(missing))}")
            tick(done, len(missing))
    write_page(table, out)
    return table


def write_page(table: Table, out: Path) -> None:
    """The page of a table, and its plots."""
    write_text(out / PAGE, page(table.rows, "\n".join(table.notes)))
    for name, drawing in plots(table.rows).items():
        write_text(out / name, drawing)


def _same(asked: PaperStudy, out: Path) -> None:
    """Writes down what every row has in common; raises ClinquantError `study-other` where `out` holds rows of other numbers."""
    shared = {name: getattr(asked, name) for name in ("arch", "views", "explained", "guidance")}
    path = out / "study.json"
    if path.exists() and path.read_text(encoding="utf-8") != dump_json(shared, kind="study-numbers"):
        raise ClinquantError(
            "study-other",
            f"{out} holds a study with another architecture, other views, explained images or guidance.",
            fix="give the same numbers, or another --out.",
        )
    write_json(path, shared, kind="study-numbers")


def told(key: Key, row: dict[str, Any]) -> str:
    """A row in a sentence."""
    return f"{key.set} seed {key.seed} {key.way} {key.bits}: accuracy {row['accuracy']}, AUC {row['auc']}, {row['bytes']} bytes."


def _left(began: float, done: int, total: int) -> str:
    minutes = (time.monotonic() - began) / done * (total - done) / 60
    return f"{done}/{total}, {minutes:.0f} min left."


def _made(asked: PaperStudy, out: Path, keys: Sequence[Key], processes: int, threads: int) -> Iterable[tuple[Key, dict[str, Any]]]:
    """Rows as they come; two of one set and seed are never made at once, since they share files."""
    if processes == 1:
        torch.set_num_threads(threads)
        yield from ((key, _row(asked, out, key)) for key in keys)
        return
    waiting, running = list(keys), dict[Future[dict[str, Any]], Key]()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        while waiting or running:
            for key in [key for key in waiting if _free(asked, key, running.values())]:
                if len(running) < processes and _free(asked, key, running.values()):
                    waiting.remove(key)
                    running[pool.submit(_row, asked, out, key)] = key
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()


def _free(asked: PaperStudy, key: Key, busy: Iterable[Key]) -> bool:
    """Whether no row that is being made shares a set with `key` and its files: its own seed's, or its noise floor's."""
    taken = {(each.set, seed) for each in busy for seed in (each.seed, asked.other_seed(each.seed))}
    return not {(key.set, key.seed), (key.set, asked.other_seed(key.seed))} & taken


def _row(asked: PaperStudy, out: Path, key: Key) -> dict[str, Any]:
    other = asked.cell(key, out, seed=asked.other_seed(key.seed))
    return make_row(asked.cell(key, out), other, key, asked.explained)
