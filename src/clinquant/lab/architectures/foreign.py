"""Networks from outside the zoo: a user's own function, or timm's."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn
from torch.nn.parameter import UninitializedParameter

from clinquant.core.errors import ClinquantError, missing_extra

FIX = "name a function that takes the number of classes and returns a torch.nn.Module: module:function or path/to/file.py:function."


def build_users(name: str) -> Callable[[int], nn.Module]:
    """The function that `module:function` or `path/to/file.py:function` names, checked when called to return a module.

    Raises:
        ClinquantError: `arch-broken` when it cannot be imported, is not there, or returns something else or a layer without a size.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        function = getattr(module, attribute)
    except Exception as error:  # the user's file may raise anything
        raise ClinquantError("arch-broken", f"{name}: {type(error).__name__}: {error}", fix=FIX) from error

    def build(num_classes: int) -> nn.Module:
        try:
            network = function(num_classes)
        except Exception as error:
            raise ClinquantError("arch-broken", f"{name} for {num_classes} classes: {type(error).__name__}: {error}", fix=FIX) from error
        if not isinstance(network, nn.Module):
            raise ClinquantError("arch-broken", f"{name} returned {type(network).__name__}, not a torch.nn.Module.", fix=FIX)
        if lazy := next((name for name, value in network.named_parameters() if isinstance(value, UninitializedParameter)), None):
            raise ClinquantError(
                "arch-broken",
                f"{name}: {lazy} has no size yet (a lazy layer).",
                fix="give the layer its size, or run the network once on zeros before returning it.",
            )
        return network

    return build


def build_timm(name: str) -> Callable[[int], nn.Module]:
    """timm's model of that name, randomly initialised: give published weights as a file with `--weights`.

    Raises:
        ClinquantError: `extra-missing` without timm, `arch-unknown` when timm has no such model.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise missing_extra("timm", "timm") from error
    model = name.removeprefix("timm:")
    if not timm.is_model(model):
        raise ClinquantError("arch-unknown", f"timm has no model {model!r}.", fix="see timm.list_models().")

    def build(num_classes: int) -> nn.Module:
        network: nn.Module = timm.create_model(model, pretrained=False, num_classes=num_classes)
        return network

    return build


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
