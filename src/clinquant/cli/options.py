"""Arguments and options, each declared once: the same name, default and meaning in every command."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

data = click.argument("data", metavar="DATA", type=str)
bundle = click.argument("bundle", metavar="BUNDLE", type=click.Path(path_type=Path))

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and no progress.")
OUT_HELP = "The run directory; a run that is there is resumed."
out = click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
seed = click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(min=0), help="Of everything that is drawn.")


def _number(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """`value`, which click lets pass as any range's when it is not a number; None where there is none."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is not a number.", context, option)
    return value


margin = click.option(
    "--margin",
    default=0.02,
    show_default=True,
    metavar="X",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    callback=_number,
    help="The loss that would matter, written down before the test set is read.",
)
threads = click.option("--threads", default=1, show_default=True, metavar="N", type=click.IntRange(min=1), help="Of the runtime.")
strict = click.option("--strict", is_flag=True, help="Exit with 3 when a primary claim is not NON_INFERIOR.")

groups = click.option(
    "--groups",
    metavar="CSV",
    help="Columns path and patient (or group): what must stay on one side. Or the word folders: each sub-folder of a class is a patient.",
)
group_column = click.option("--group-column", metavar="NAME", help="The column of the manifest or of --groups that names the patient.")
covariates = click.option(
    "--covariates", metavar="CSV", help="Columns path or patient, and what is known of them (sex, age, site ...), for evidence by subgroup."
)
positive = click.option("--positive", metavar="NAME", help="The diseased class when there are two.")
grey_window = click.option(
    "--grey-window", nargs=2, type=int, metavar="LO HI", help="Levels of 16-bit images that become black and white  [default: 0 65535]"
)
skip_broken = click.option("--skip-broken", is_flag=True, help="List broken images and leave them out, instead of stopping.")

arch = click.option(
    "--arch", default="auto", show_default=True, metavar="NAME", help="Architecture, or module:function; see 'clinquant methods'."
)
size = click.option("--size", metavar="PX", type=click.IntRange(min=8), help="Side of the network's input  [default: the architecture's]")
epochs = click.option("--epochs", metavar="N", type=click.IntRange(min=1), help="At most  [default: chosen from the data]")
weights = click.option(
    "--weights", metavar="FILE", help="A published checkpoint to start from, or random  [default: the architecture's own, where there are]"
)
threshold = click.option(
    "--threshold",
    default="youden",
    show_default=True,
    metavar="RULE",
    help="How the operating point is chosen: youden, sens=.95, spec=.95, argmax.",
)
vertical_flip = click.option("--vertical-flip", is_flag=True, help="Also flip upside down in training: for images that have no upright.")

teacher = click.option(
    "--teacher", metavar="RUN", help="Learn also from the float network of that run, trained on the same data and --seed (distillation)."
)

saliency_guided = click.option(
    "--saliency-guided", is_flag=True, help="Train so that what the gradient calls unimportant does not matter; about twice the time."
)
saliency_k = click.option(
    "--saliency-k", default=0.5, show_default=True, metavar="X", type=click.FloatRange(0, 1), help="Share of positions replaced."
)
saliency_fill = click.option(
    "--saliency-fill", default="uniform", show_default=True, type=click.Choice(["uniform", "mean"]), help="What they are replaced by."
)
saliency_rank = click.option(
    "--saliency-rank", default="signed", show_default=True, type=click.Choice(["signed", "abs"]), help="Which gradients are least."
)
saliency_weight = click.option(
    "--saliency-weight", default=1.0, show_default=True, metavar="X", type=click.FloatRange(0), callback=_number, help="Of the divergence."
)
saliency_ramp = click.option(
    "--saliency-ramp", default=0.2, show_default=True, metavar="X", type=click.FloatRange(0, 1), help="Share of training in which k rises."
)


def size_in_bytes(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes of "300k", "1.5M" or "250000"."""
    if value is None:
        return None
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(value[-1:].lower())
    try:
        found = float(value[:-1]) * factor if factor else float(value)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise click.BadParameter(f"{value!r} is no size; give for example 300k or 1.5M.", context, option)
    return int(found)


bits = click.option(
    "--bits",
    default="w8a8",
    show_default=True,
    metavar="NAME",
    help="Widths of weights and activations: w8a8, w4a8, w4a4, w2a2, mixed w84 or w42, or auto under a budget. See methods.",
)
max_bytes = click.option(
    "--max-bytes", metavar="SIZE", callback=size_in_bytes, help="Budget of the integer file for --bits auto: 300k, 1.5M."
)
max_ms = click.option(
    "--max-ms",
    metavar="MS",
    type=click.FloatRange(0, min_open=True),
    callback=_number,
    help="Budget of its median time on this machine for --bits auto.",
)
max_minutes = click.option(
    "--max-minutes",
    metavar="MIN",
    type=click.FloatRange(0, min_open=True),
    callback=_number,
    help="After which --recipe auto begins no further attempt; the best so far is kept  [default: none]",
)
recipe = click.option(
    "--recipe", default="auto", show_default=True, metavar="NAME", help="How grids are found; auto chooses on tune. See methods."
)
target = click.option(
    "--target",
    default="portable",
    show_default=True,
    metavar="NAME",
    help="What the integers run on: portable gives the same bits everywhere; x86-vnni and arm-dotprod take full 8-bit weights.",
)
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

guiding = together(saliency_guided, saliency_k, saliency_fill, saliency_rank, saliency_weight, saliency_ramp)
"""What training asks for beside the right class."""

training = together(arch, size, epochs, weights, vertical_flip, teacher, guiding)
"""How the float network is made."""

quantizing = together(bits, recipe, target, max_bytes, max_ms, max_minutes)
"""How it is put on integers."""

explain = click.option("--explain", is_flag=True, help="Measure whether explanations survive quantization; needs the extra explain.")
noise_floor = click.option(
    "--noise-floor", is_flag=True, help="As --explain, beside a second float network that is trained to tell chance from change."
)
masks = click.option(
    "--masks",
    metavar="PATH",
    help="Explain with pointing hits: a folder of masks named as the images, or a CSV of boxes (path, x, y, width, height).",
)
explaining = together(explain, noise_floor, masks)
"""What is asked about explanations."""

planning = together(reading, covariates, test, training, threshold, quantizing, explaining, margin, seed)
"""Everything that a run is planned with."""


def given(**values: Any) -> dict[str, Any]:
    """Those of a command's values that the user typed: the others may give way to what a run or a bundle says."""
    context = click.get_current_context()
    typed = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    return {name: value for name, value in values.items() if context.get_parameter_source(name) in typed}
