"""clinquant audit."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import as_json, data, margin, reading
from clinquant.cli.output import show, table

if TYPE_CHECKING:
    from clinquant.data.audit import Audit
    from clinquant.data.study import Study
    from clinquant.evidence.power import Decidable

SHOWN = 5
"""Groups of each kind that are printed; `--json` has them all."""


@click.command("audit")
@data
@reading
@margin
@as_json
def command(
    data: str,
    groups: str | None,
    group_column: str | None,
    positive: str | None,
    grey_window: tuple[int, int] | None,
    skip_broken: bool,
    margin: float,
    as_json: bool,
) -> None:
    """Look through DATA: copies, leaks across a given split, conflicting labels, balance, and what its test set can decide."""
    from clinquant.data.audit import audit
    from clinquant.data.read import read_study

    narrator = Narrator(quiet=as_json)
    with narrator.progress("read images") as tick:
        study = read_study(
            data,
            groups=groups,
            group_column=group_column,
            positive=positive,
            grey_window=grey_window,
            skip_broken=skip_broken,
            progress=tick,
            say=narrator.say,
        )
    with narrator.progress("look for copies") as tick:
        found = audit(study, margin=margin, progress=tick)
    show(found, "\n".join(_lines(study, found, data)), kind="audit", as_json=as_json)


def _lines(study: Study, found: Audit, data: str) -> Iterator[str]:
    yield f"{study.name}: {found.images} images, {found.distinct} different pictures, {found.units} independent units."
    yield from study.notes
    yield table(
        [("  class", "images", "units"), *((f"  {name}", str(row["images"]), str(row["units"])) for name, row in found.balance.items())]
    )
    if study.broken:
        yield f"Left out as broken: {len(study.broken)}, for example {next(iter(study.broken.items()))[1]}"
    yield from _groups("copies with equal pixels", found.exact)
    yield from _groups("near-copies", found.near)
    yield from _groups("edited copies", found.edited)
    yield from _groups("copies with different labels", found.conflicts)
    yield from _groups("patients or copies across the given split", found.leaks)
    yield f"What {found.power_of} can decide at margin {found.margin:g}, if no case flips:"
    yield table([_power(each) for each in found.power])
    yield from (f"Note: {warning}" for warning in found.warnings)
    yield f"\nNext: clinquant build {shlex.quote(data)} --out DIR"


def _groups(what: str, groups: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    yield f"Groups of {what}: {len(groups) or 'none'}"
    for group in groups[:SHOWN]:
        yield f"  {' = '.join(group[:3])}{f' and {len(group) - 3} more' if len(group) > 3 else ''}"
    if len(groups) > SHOWN:
        yield f"  and {len(groups) - SHOWN} more groups; --json lists all"


def _power(each: Decidable) -> tuple[str, ...]:
    verdict = "can decide" if each.decidable else f"cannot decide; {each.needed} would" if each.needed else "cannot decide"
    limit = f"{each.units} units" + (f" of {each.limited_by}" if each.limited_by else "")
    return (f"  {each.metric}", each.class_name or "all", limit, verdict, f"could at any margin above {each.smallest_margin:.3f}")
