"""Arguments and options, each declared once: the same name, default and meaning in every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

data = click.argument("data", metavar="DATA", type=str)
bundle = click.argument("bundle", metavar="BUNDLE", type=click.Path(path_type=Path))

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no progress.")
out = click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run directory; resumed when it exists.",
)
seed = click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(min=0), help="Of everything that is drawn.")
margin = click.option(
    "--margin",
    default=0.02,
    show_default=True,
    metavar="X",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The loss that would matter, written down before the test set is read.",
)
threads = click.option("--threads", default=1, show_default=True, metavar="N", type=click.IntRange(min=1), help="Of the runtime.")
strict = click.option("--strict", is_flag=True, help="Exit with 3 when a primary claim is not NON_INFERIOR.")

groups = click.option(
    "--groups", metavar="CSV", type=click.Path(path_type=Path), help="Columns path and patient (or group): what must stay on one side."
)
group_column = click.option("--group-column", metavar="NAME", help="The column of the manifest or of --groups that names the patient.")
positive = click.option("--positive", metavar="NAME", help="The diseased class when there are two.")
grey_window = click.option(
    "--grey-window", nargs=2, type=int, metavar="LO HI", help="Levels of 16-bit images that become black and white  [default: 0 65535]"
)
skip_broken = click.option("--skip-broken", is_flag=True, help="List broken images and leave them out, instead of stopping.")

arch = click.option("--arch", metavar="NAME", help="Architecture; see 'clinquant methods'  [default: chosen from the data]")
size = click.option(
    "--size", metavar="PX", type=click.IntRange(min=8), help="Side of the network's input  [default: chosen with the architecture]"
)
epochs = click.option("--epochs", metavar="N", type=click.IntRange(min=1), help="At most  [default: chosen from the data]")
weights = click.option("--weights", metavar="FILE", type=click.Path(path_type=Path), help="A published checkpoint to start from.")
threshold = click.option(
    "--threshold",
    metavar="RULE",
    help="How the operating point is chosen: youden, sens=.95, spec=.95, argmax  [default: youden; evaluate: the bundle's rule]",
)
vertical_flip = click.option("--vertical-flip", is_flag=True, help="Also flip upside down in training: for images that have no upright.")
bits = click.option("--bits", default="w8a8", show_default=True, metavar="wXaY", help="Widths of weights and activations.")
recipe = click.option("--recipe", default="auto", show_default=True, metavar="NAME", help="How ranges are found; auto chooses on tune.")
test = click.option("--test", "tests", multiple=True, metavar="DATA2", help="An external test set with the same classes; may be repeated.")


def together(*options: Decorator[Any]) -> Decorator[Any]:
    """One decorator of several, in the order they stand in the help."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


reading = together(groups, group_column, positive, grey_window, skip_broken)
"""How DATA is read."""

training = together(arch, size, epochs, weights, threshold, vertical_flip)
"""How the float network is made."""
