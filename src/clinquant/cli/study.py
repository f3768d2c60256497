"""clinquant study."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinquant.cli.narrator import Narrator
from clinquant.cli.options import as_json, guiding, out, size, threads
from clinquant.cli.output import show

if TYPE_CHECKING:
    from clinquant.lab.study.paper import PaperStudy


@click.command("study")
@click.argument("name", metavar="NAME", type=click.Choice(["paper"]))
@click.option("--data", "data", multiple=True, required=True, metavar="DATA", help="A data set, as build takes it; may be repeated.")
@click.option("--set-groups", "groups", multiple=True, metavar="SET=CSV", help="--groups of build, of one set; may be repeated.")
@out
@click.option("--arch", default="resnet20", show_default=True, metavar="NAME", help="Architecture.")
@size
@click.option("--seeds", default="0,1,2", show_default=True, metavar="N,N", help="Each is complete before the next begins.")
@click.option("--widths", "bits", default="w4a4,w2a2,w42,w8a8", show_default=True, metavar="NAMES", help="As --bits of build.")
@click.option("--ways", metavar="NAMES", help="Of float, sgt, ptq, lsq, pact, sgt+lsq, lsq+ap  [default: all]")
@click.option(
    "--views",
    metavar="N",
    type=click.IntRange(min=1),
    help="Image views that float networks are trained on for, guided or quantized  [default: training's own]",
)
@click.option("--explained", default=200, show_default=True, metavar="N", type=click.IntRange(min=2), help="Test images explained, a set.")
@click.option("--processes", default=1, show_default=True, metavar="N", type=click.IntRange(min=1), help="Rows made side by side.")
@guiding
@threads
@as_json
def command(name: str, out: Path, processes: int, threads: int, as_json: bool, **choices: Any) -> None:
    """Rerun a whole study: NAME is paper, {float, SGT, PTQ, QAT, SGT+QAT} x widths x seeds on every DATA.

    One row of DIR/study.csv a network, with accuracy, AUC, bytes, latency and the fidelity of explanations; DIR/study.md is its page. The
    same command goes on where it was stopped.
    """
    from clinquant.lab.study.paper import PAGE, TABLE, run_study

    typed = f"clinquant {shlex.join(sys.argv[1:])}"
    table = run_study(
        _asked(choices), out, processes=processes, threads=threads, narrator=Narrator(quiet=as_json), command=_unplaced(typed)
    )
    show({"rows": table.rows}, f"{len(table.rows)} rows in {out / TABLE}; read {out / PAGE}.", kind="study-table", as_json=as_json)


def _asked(choices: dict[str, Any]) -> PaperStudy:
    from clinquant.lab.objectives import SaliencyGuided
    from clinquant.lab.study.cell import Source
    from clinquant.lab.study.paper import PaperStudy
    from clinquant.lab.study.ways import WAYS

    groups = dict(_pair(each) for each in choices["groups"])
    named = {Path(data).stem: data for data in choices["data"]}
    return PaperStudy(
        sources=tuple(Source(name=name, data=data, groups=groups.get(name), size=choices["size"]) for name, data in named.items()),
        arch=choices["arch"],
        seeds=_seeds(choices["seeds"]),
        bits=tuple(choices["bits"].split(",")),
        ways=tuple(choices["ways"].split(",")) if choices["ways"] else tuple(WAYS),
        views=choices["views"],
        explained=choices["explained"],
        guidance=SaliencyGuided(**{name: choices[f"saliency_{name}"] for name in ("k", "fill", "rank", "weight", "ramp")}),
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not SET=CSV.", param_hint="--set-groups")
    return name, path


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers such as 0,1,2.", param_hint="--seeds") from error


def _unplaced(command: str) -> str:
    """The command as it is kept in a table: without the folders of the machine that ran it."""
    words = [word if not word.startswith("/") else Path(word).name for word in shlex.split(command)]
    return shlex.join(words)
