"""ResNet-18 (He et al. 2015, arXiv 1512.03385, table 1), with the parameter names of torchvision's checkpoint."""

from __future__ import annotations

from clinquant.lab.architectures.residual import BasicBlock, ImageNetResNet


def resnet18(num_classes: int) -> ImageNetResNet:
    """ResNet-18: 11.7 million parameters and 1.8 GMAC for 1000 classes at 224 px."""
    return ImageNetResNet(BasicBlock, (2, 2, 2, 2), num_classes)
