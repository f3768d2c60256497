"""clinquant methods."""

from __future__ import annotations

import click

from clinquant.cli.options import as_json
from clinquant.cli.output import show, table

REGISTRIES = {
    "architectures (--arch)": ("clinquant.lab.architectures", "ARCHITECTURES"),
    "widths (--bits)": ("clinquant.lab.quantize.widths", "BITS"),
    "recipes (--recipe)": ("clinquant.lab.quantize.recipes", "SENTENCES"),
    "targets (--target)": ("clinquant.lab.quantize.target", "NOTES"),
    "observers": ("clinquant.lab.quantize.observers", "OBSERVERS"),
    "fake quantizers of activations": ("clinquant.lab.quantize.fake_quant", "ACTIVATION_QUANTIZERS"),
    "fake quantizers of weights": ("clinquant.lab.quantize.fake_quant", "WEIGHT_QUANTIZERS"),
    "passes": ("clinquant.lab.quantize.passes", "PASSES"),
    "objectives": ("clinquant.lab.objectives", "OBJECTIVES"),
    "explanations (--methods)": ("clinquant.lab.explain_images", "METHODS"),
}

TIMES = "times of one picture, float -> integer file, one thread (benchmarks/wasm.py)"
TABLETS = "; the tablet's default: --arch resnet18_half --teacher RUN"


@click.command("methods")
@as_json
def command(as_json: bool) -> None:
    """List what --arch, --bits, --recipe and --target take, and the methods behind them."""
    from clinquant.core.registry import read_registry
    from clinquant.edge.speed import TABLET, speeds

    found = {kind: read_registry(*place) for kind, place in REGISTRIES.items()}
    found[TIMES] = {name: f"{speed}{TABLETS if name == TABLET else ''}" for name, speed in speeds().items()}
    text = "\n\n".join(f"{kind}\n{table([(f'  {name}', says) for name, says in names.items()])}" for kind, names in found.items())
    show(found, text, kind="methods", as_json=as_json)
