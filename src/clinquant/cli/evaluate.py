"""clinquant evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinquant.cli.options import as_json, bundle, data, given, group_column, groups, seed, skip_broken, threads, threshold
from clinquant.cli.output import show, table
from clinquant.cli.progress import progress

if TYPE_CHECKING:
    from clinquant.edge.evaluate import AtThreshold, Evaluation
    from clinquant.evidence.measured import Measured


@click.command("evaluate")
@bundle
@data
@groups
@group_column
@skip_broken
@threshold
@threads
@seed
@as_json
def command(
    bundle: Path,
    data: str,
    groups: str | None,
    group_column: str | None,
    skip_broken: bool,
    threshold: str,
    threads: int,
    seed: int,
    as_json: bool,
) -> None:
    """See how BUNDLE does on DATA, labelled images of your own: at its threshold, and at one chosen anew on them.

    The rule that chooses anew is the bundle's own unless --threshold is given.
    """
    from clinquant.data.read import read_study
    from clinquant.edge.bundle import open_bundle
    from clinquant.edge.evaluate import evaluate

    opened = open_bundle(bundle)
    with progress("read", quiet=as_json) as tick:
        study = read_study(
            data, groups=groups, group_column=group_column, grey_window=opened.card.grey_window, skip_broken=skip_broken, progress=tick
        )
    with progress("predict", quiet=as_json) as tick:
        found = evaluate(opened, study, rule=given(threshold=threshold).get("threshold"), threads=threads, seed=seed, progress=tick)
    show(found, _text(found), kind="evaluation", as_json=as_json)


def _text(found: Evaluation) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in found.images_by_class.items())
    lines = [
        f"{found.data}: {found.images} images ({counts})",
        "",
        table([_row(found.auc)]),
        "",
        *_at("at the bundle's threshold", found.own),
    ]
    if found.rechosen:
        lines += ["", *_at("at a threshold chosen anew, cross-validated", found.rechosen)]
    kept = "" if found.accuracy_kept is None else f"; accuracy of the others {found.accuracy_kept:.3f}"
    lines += [
        "",
        f"REFER: {found.referred:.1%} of the images{kept}",
        *([] if found.out_of_scope is None else [f"OUT OF SCOPE: {found.out_of_scope:.1%} of the images, which would get no class"]),
        *([] if found.coverage is None else [f"prediction sets hold the true class of {found.coverage:.1%}"]),
        f"expected calibration error {found.reliability.ece:.3f}",
        "",
        *found.notes,
    ]
    return "\n".join(lines)


def _at(title: str, at: AtThreshold) -> list[str]:
    where = "" if at.threshold is None else f" {at.threshold:.4f} ({at.rule})"
    return [f"{title}{where}", table([_row(each) for each in at.measured])]


def _row(each: Measured) -> tuple[str, ...]:
    from clinquant.report.wording import counted, plural_unit

    value = "-" if each.value is None else f"{each.value:.4f}"
    interval = "" if each.lower is None or each.upper is None else f"{each.confidence:.0%} interval {each.lower:.4f} to {each.upper:.4f}"
    return (f"  {each.metric}", each.class_name or "all", value, interval, counted(each.n, each.unit, plural_unit(each.unit)))
