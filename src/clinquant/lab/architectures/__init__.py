"""The zoo: small networks fit for integers, one file each.

They use only convolution, batch norm, ReLU or ReLU6, max-pooling, padding, addition, and end in global average pooling and one
linear layer, so every one can be traced (`torch.fx`) and run by integer kernels throughout.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from clinquant.core.errors import ClinquantError
from clinquant.core.preprocess import Preprocess
from clinquant.lab.architectures import efficientnet_lite0, mobilenet_v2, resnet18, resnet18_28, resnet18_half, resnet20, resnet50
from clinquant.lab.architectures.foreign import build_timm, build_users


def keep_name(key: str) -> str:
    """The name itself: the published checkpoint and we call the parameter the same."""
    return key


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network that can be built for any number of classes.

    Attributes:
        build: number of classes -> module, freshly initialised.
        size: default side of the square input, pixels.
        mean, std: what the published weights expect, per channel, in grey levels 0 to 255.
        stem: names of the first convolution and its batch norm, where they absorb `mean` and `std` when published weights are loaded
            (see `clinquant.lab.stem`); the network itself then takes (pixel - 127) / 128, which costs nothing in integers.
        pretrained: the name in `clinquant.lab.weights.PRETRAINED` of weights that are fetched by default, or None.
        our_name: from a published checkpoint's parameter name to ours.
        reference: where it is published.
    """

    build: Callable[[int], nn.Module]
    size: int
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    pretrained: str | None = None
    our_name: Callable[[str], str] = keep_name
    stem: tuple[str, str] | None = None
    reference: str

    def preprocess(self, size: int | None = None) -> Preprocess:
        """Pixels to network input, at `size` or the default size."""
        if self.stem is not None:
            return Preprocess(size=size or self.size)
        return Preprocess(size=size or self.size, mean=self.mean, std=self.std)


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Red, green, blue of ImageNet's training set times 255, as torchvision's published weights expect."""

ARCHITECTURES: dict[str, Architecture] = {
    "efficientnet_lite0": Architecture(
        build=efficientnet_lite0.efficientnet_lite0,
        size=224,
        pretrained="efficientnet_lite0",
        our_name=efficientnet_lite0.our_name,
        reference="Tan and Le 2019, arXiv 1905.11946 (Lite variant, 2020)",
    ),
    "mobilenet_v2": Architecture(
        build=mobilenet_v2.mobilenet_v2,
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        stem=("features.0.0", "features.0.1"),
        reference="Sandler et al. 2018, arXiv 1801.04381",
    ),
    "resnet18": Architecture(
        build=resnet18.resnet18,
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        stem=("conv1", "bn1"),
        reference="He et al. 2015, arXiv 1512.03385",
    ),
    "resnet50": Architecture(
        build=resnet50.resnet50,
        size=224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        stem=("conv1", "bn1"),
        reference="He et al. 2015, arXiv 1512.03385",
    ),
    "resnet18_28": Architecture(
        build=resnet18_28.resnet18_28,
        size=28,
        our_name=resnet18_28.our_name,
        reference="Yang et al. 2023, arXiv 2110.14795 (MedMNIST v2 benchmark)",
    ),
    "resnet18_half": Architecture(
        build=resnet18_half.resnet18_half,
        size=224,
        reference="He et al. 2015, arXiv 1512.03385, at half the width (Zagoruyko and Komodakis 2016, arXiv 1605.07146)",
    ),
    "resnet20": Architecture(build=resnet20.resnet20, size=28, reference="He et al. 2015, arXiv 1512.03385, section 4.2 (option B)"),
}


def find_architecture(name: str) -> Architecture:
    """The zoo's `name`, a user's `module:function` or `path/to/file.py:function`, or `timm:NAME`.

    Raises:
        ClinquantError: `arch-unknown`, `arch-broken`, or `extra-missing` for timm.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith("timm:"):
        return Architecture(build=build_timm(name), size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, reference=name)
    if ":" in name:
        return Architecture(build=build_users(name), size=224, reference=name)
    near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(ARCHITECTURES)}, or module:function."
    raise ClinquantError("arch-unknown", f"there is no architecture {name!r}.", fix=hint)
