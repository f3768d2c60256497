"""clinquant predict."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinquant.cli.options import as_json, bundle, skip_broken, threads
from clinquant.cli.output import show
from clinquant.cli.progress import progress

if TYPE_CHECKING:
    from clinquant.edge.answer import Answers


@click.command("predict")
@bundle
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@skip_broken
@threads
@as_json
def command(bundle: Path, images: tuple[str, ...], skip_broken: bool, threads: int, as_json: bool) -> None:
    """Say what BUNDLE thinks of image files, folders and globs, as CSV: class, probability, and REFER where it is not sure enough.

    OUT OF SCOPE stands in place of a class where an image is unlike those that the model was trained on; `set` names all classes that it
    may have, where the bundle has a rule for that.

    The bundle's hashes are checked first. Research use only; a clinician must review every image.
    """
    from clinquant.edge.answer import answer
    from clinquant.edge.bundle import open_bundle

    with progress("predict", quiet=as_json) as tick:
        answers = answer(open_bundle(bundle), images, threads=threads, skip_broken=skip_broken, progress=tick)
    for image, reason in answers.broken.items():
        print(f"left out: {image}: {reason}", file=sys.stderr)
    show(answers, _csv(answers), kind="answers", as_json=as_json)


def _csv(answers: Answers) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    classes = list(answers.answers[0].probabilities) if answers.answers else []
    writer.writerow(["image", "class", "probability", "refer", "set", *(f"probability:{name}" for name in classes)])
    for found in answers.answers:
        each = [f"{found.probabilities[name]:.6f}" for name in classes]
        chance = "" if found.probability is None else f"{found.probability:.6f}"
        writer.writerow(
            [found.image, found.class_name or "OUT OF SCOPE", chance, "REFER" if found.refer else "", " | ".join(found.classes), *each]
        )
    return out.getvalue().rstrip("\n")
