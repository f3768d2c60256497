"""clinquant explain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinquant.cli.options import as_json
from clinquant.cli.options import masks as masks_option
from clinquant.cli.output import show, table
from clinquant.cli.progress import progress

if TYPE_CHECKING:
    from clinquant.report.side_by_side import Explanation


@click.command("explain")
@click.argument("place", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--maps", "maps", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Pictures go here.")
@click.option("--methods", default="class_map", show_default=True, metavar="NAMES", help="See methods; gradients need a run directory.")
@click.option("--class", "class_name", metavar="NAME", help="The class that is explained  [default: the float file's decision]")
@masks_option
@as_json
def command(
    place: Path, images: tuple[str, ...], maps: Path, methods: str, class_name: str | None, masks: str | None, as_json: bool
) -> None:
    """Show what speaks for a class in image files, float beside integer, for the same class in both.

    RUN is the directory of a build and has both files; BUNDLE has the integer file alone. One picture file an image and method, and
    explanations.json with the numbers. A map shows what the network uses, not where disease is; a clinician must review every image.
    """
    from clinquant.lab.explain_images import explain_images

    with progress("explain", quiet=as_json) as tick:
        found = explain_images(
            place,
            images,
            maps,
            tuple(methods.split(",")),
            class_name=class_name,
            masks=None if masks is None else Path(masks),
            progress=tick,
        )
    show(found, _text(found.explanations, maps), kind="explanations", as_json=as_json)


def _text(found: Sequence[Explanation], maps: Path) -> str:
    rows = [("picture", "class", "method", *(f"{file} P" for file in found[0].files), *found[0].alike)]
    for each in found:
        probabilities = (f"{says.probability:.3f}" for says in each.files.values())
        rows.append((each.picture, each.class_name, each.method, *probabilities, *(f"{value:.3f}" for value in each.alike.values())))
    return f"{table(rows)}\n\nPictures and explanations.json are in {maps}."
