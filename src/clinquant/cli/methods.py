"""clinquant methods."""

from __future__ import annotations

import click

from clinquant.cli.options import as_json
from clinquant.cli.output import show, table

REGISTRIES = {
    "architectures": ("clinquant.lab.architectures", "ARCHITECTURES"),
    "observers": ("clinquant.lab.quantize.observers", "OBSERVERS"),
    "recipes": ("clinquant.lab.quantize.recipes", "RECIPES"),
    "trained grids": ("clinquant.lab.quantize.fake_quant", "METHODS"),
    "passes": ("clinquant.lab.quantize.passes", "PASSES"),
    "widths": ("clinquant.lab.quantize.widths", "WIDTHS"),
    "mixed widths": ("clinquant.lab.quantize.widths", "MIXED"),
    "targets": ("clinquant.lab.quantize.target", "TARGETS"),
}


@click.command("methods")
@as_json
def command(as_json: bool) -> None:
    """List architectures (--arch), recipes and trained grids (--recipe), observers, passes, widths (--bits) and targets."""
    from clinquant.core.registry import read_registry

    found = {kind: read_registry(*place) for kind, place in REGISTRIES.items()}
    text = "\n\n".join(f"{kind}\n{table([(f'  {name}', says) for name, says in names.items()])}" for kind, names in found.items())
    show(found, text, kind="methods", as_json=as_json)
