"""clinquant agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinquant.cli.options import as_json, bundle
from clinquant.cli.output import show, table
from clinquant.cli.progress import progress
from clinquant.core.errors import Exit

if TYPE_CHECKING:
    from clinquant.edge.agree.agree import Agreement

NAMES = ("native", "x86-no-vnni", "arm64", "wasm-node", "wasm-chromium")
IMAGES_HELP = "Files, folders or globs; repeatable  [default: the pictures of the golden vectors]"


@click.command("agree")
@bundle
@click.argument("more", metavar="[TARGET]...", nargs=-1)
@click.option("--targets", multiple=True, metavar="TARGET...", help=f"Of: {', '.join(NAMES)}  [default: all]")
@click.option("--images", multiple=True, metavar="IMAGES", help=IMAGES_HELP)
@click.option("--limit", default=32, show_default=True, metavar="N", type=click.IntRange(min=1), help="Images at most, evenly chosen.")
@as_json
def command(bundle: Path, more: tuple[str, ...], targets: tuple[str, ...], images: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Run the same images through BUNDLE's model on other processors and runtimes, and count the bytes of its outputs that differ.

    Targets: this machine again with two threads; x86 without 8-bit dot products and 64-bit ARM, emulated; WebAssembly in node and in
    Chromium.
    One that is not installed is named, with how to install it. A model that is not portable is compared by tolerance, and its rows say so.

    Exits with 0 only where nothing differs, with 4 where something does, and with 5 where no target could be run.
    """
    from clinquant.edge.agree.agree import agree
    from clinquant.edge.bundle import open_bundle

    asked = tuple(name for listed in (*targets, *more) for name in listed.split(",") if name) or NAMES
    with progress("agree", quiet=as_json) as tick:
        found = agree(open_bundle(bundle), asked, images, limit=limit, progress=tick)
    show(found, _text(found), kind="agreement", as_json=as_json)
    click.get_current_context().exit(_exit(found))


def _exit(found: Agreement) -> Exit:
    if not found.agrees:
        return Exit.REFUSED
    return Exit.OK if found.ran else Exit.ENVIRONMENT


def _text(found: Agreement) -> str:
    rows: list[tuple[str, ...]] = [("target", "differing bytes", "of", "images", "largest", "", "runtime", "machine")]
    rows.append(("here", "-", "-", "-", "-", "compared with", found.runtime, found.machine))
    for each in found.targets:
        if each.agrees is None:
            rows.append((each.target, "-", "-", "-", "-", "NOT RUN", "", ""))
            continue
        counts = (f"{each.differing_bytes:,}", f"{each.bytes:,}", f"{each.differing_images}/{found.images}", f"{each.largest:.2g}")
        rows.append((each.target, *counts, _word(each.agrees, found.tolerance), each.runtime, each.machine))
    notes = [f"{each.target} was not run: {each.not_run}" for each in found.targets if each.not_run]
    if found.tolerance is not None:
        notes.append(
            "This model's card says that it is not portable: it need not be the same bits everywhere, and a target agrees where no value"
            f" differs by more than {found.tolerance:g} of the largest."
        )
    return "\n".join((table(rows), *notes))


def _word(agrees: bool, tolerance: float | None) -> str:
    if tolerance is None:
        return "the same bytes" if agrees else "DIFFERS"
    return "within tolerance" if agrees else "DIFFERS beyond tolerance"
