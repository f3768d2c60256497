"""ResNet-20 with other activations: what is compared in the ablation. Used as `--arch benchmarks.activations:silu`."""

from __future__ import annotations

from torch import nn

from clinquant.lab.architectures import ARCHITECTURES


def relu(classes: int) -> nn.Module:
    """As published."""
    return ARCHITECTURES["resnet20"].build(classes)


def silu(classes: int) -> nn.Module:
    """With SiLU in every place of a ReLU."""
    return exchanged(relu(classes), nn.SiLU)


def hard_swish(classes: int) -> nn.Module:
    """With hard-swish in every place of a ReLU."""
    return exchanged(relu(classes), nn.Hardswish)


def exchanged(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """`module` with every ReLU exchanged."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, kind())
        else:
            exchanged(child, kind)
    return module
