"""MobileNetV2, width 1 (Sandler et al. 2018, arXiv 1801.04381, table 2), with the parameter names of torchvision's checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(num_classes: int, dropout: float = 0.2) -> MobileNetV2:
    """MobileNetV2: 3.5 million parameters and 0.30 GMAC for 1000 classes at 224 px."""
    return MobileNetV2(num_classes, dropout)


class MobileNetV2(nn.Module):
    """float32 [N, 3, S, S] to logits [N, num_classes]."""

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn_relu6(3, 32, kernel=3, stride=2), *inverted_residuals(), conv_bn_relu6(320, 1280))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor = self.classifier(self.flatten(self.avgpool(self.features(x))))
        return logits


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (figure 4b); added to its input where shapes agree."""

    def __init__(self, channels: int, out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = [conv_bn_relu6(channels, wide)] if expansion > 1 else []
        layers.append(conv_bn_relu6(wide, wide, kernel=3, stride=stride, groups=wide))
        layers += [nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """float32 [N, channels, H, W] to [N, out, H / stride, W / stride]."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


def inverted_residuals() -> Iterator[InvertedResidual]:
    """The seventeen blocks of `STAGES`."""
    channels = 32
    for expansion, out, blocks, first_stride in STAGES:
        for block in range(blocks):
            yield InvertedResidual(channels, out, expansion=expansion, stride=first_stride if block == 0 else 1)
            channels = out


def conv_bn_relu6(channels: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, padded to keep the side at stride 1, batch norm, ReLU6."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())
