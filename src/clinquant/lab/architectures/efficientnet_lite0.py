"""EfficientNet-Lite0: EfficientNet-B0 made fit for integers (no squeeze-and-excitation, ReLU6, stem and head not scaled).

Tan and Le 2019 (arXiv 1905.11946), table 1 for the stages; the Lite variant as its authors released it in 2020.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn

STAGES = (  # expansion, channels, blocks, stride of the first block, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
EPSILON = 1e-3
"""Batch norm's epsilon in the published network."""


def efficientnet_lite0(num_classes: int, dropout: float = 0.2) -> EfficientNetLite0:
    """EfficientNet-Lite0: 4.7 million parameters and 0.39 GMAC for 1000 classes at 224 px."""
    return EfficientNetLite0(num_classes, dropout)


def our_name(key: str) -> str:
    """Our name of a published parameter: `_blocks.1._bn0.weight` becomes `blocks.1.bn0.weight`; ours stay as they are."""
    return ".".join(part.removeprefix("_") for part in key.split("."))


class EfficientNetLite0(nn.Module):
    """float32 [N, 3, S, S] to logits [N, num_classes].

    S should be a multiple of 32: then every map that is halved has an even side, and the fixed padding equals the `same`
    padding the published weights were trained with.
    """

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.pad = halving_pad(3)
        self.conv_stem = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        self.relu0 = nn.ReLU6()
        self.blocks = nn.Sequential(*inverted_residuals())
        self.conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(1280, eps=EPSILON)
        self.relu1 = nn.ReLU6()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1280, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self.relu0(self.bn0(self.conv_stem(self.pad(x))))
        x = self.relu1(self.bn1(self.conv_head(self.blocks(x))))
        logits: Tensor = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        return logits


class InvertedResidual(nn.Sequential):
    """Expand 1x1, depthwise, project 1x1 (MobileNetV2, arXiv 1801.04381, figure 4b); added to its input where shapes agree."""

    def __init__(self, channels: int, out: int, *, expansion: int, stride: int, kernel: int) -> None:
        wide = channels * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            layers["expand_conv"] = nn.Conv2d(channels, wide, 1, bias=False)
            layers["bn0"] = nn.BatchNorm2d(wide, eps=EPSILON)
            layers["relu0"] = nn.ReLU6()
        if stride == 2:
            layers["pad"] = halving_pad(kernel)
        padding = 0 if stride == 2 else kernel // 2
        layers["depthwise_conv"] = nn.Conv2d(wide, wide, kernel, stride, padding, groups=wide, bias=False)
        layers["bn1"] = nn.BatchNorm2d(wide, eps=EPSILON)
        layers["relu1"] = nn.ReLU6()
        layers["project_conv"] = nn.Conv2d(wide, out, 1, bias=False)
        layers["bn2"] = nn.BatchNorm2d(out, eps=EPSILON)
        super().__init__(layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, channels, H, W] to [N, out, H / stride, W / stride]."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


def inverted_residuals() -> Iterator[InvertedResidual]:
    """The sixteen blocks of `STAGES`."""
    channels = 32
    for expansion, out, blocks, first_stride, kernel in STAGES:
        for block in range(blocks):
            yield InvertedResidual(channels, out, expansion=expansion, stride=first_stride if block == 0 else 1, kernel=kernel)
            channels = out


def halving_pad(kernel: int) -> nn.ZeroPad2d:
    """TensorFlow's `same` padding of a stride-2 convolution over an even side: one pixel more on the right and below."""
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return nn.ZeroPad2d((before, after, before, after))
