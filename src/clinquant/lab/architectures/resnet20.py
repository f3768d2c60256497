"""ResNet-20 for small images (He et al. 2015, arXiv 1512.03385, section 4.2), with 1x1 convolution shortcuts (option B).

The paper uses option A (zero-padded identity) here; option B adds 2,752 parameters and needs only operators that integer
runtimes fuse.
"""

from __future__ import annotations

from torch import Tensor, nn

from clinquant.lab.architectures.residual import BasicBlock, stage


def resnet20(num_classes: int) -> ResNet20:
    """ResNet-20 for 28 to 64 px: 0.27 million parameters, 0.03 GMAC at 28 px."""
    return ResNet20(num_classes)


class ResNet20(nn.Module):
    """float32 [N, 3, S, S] to logits [N, num_classes]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = stage(BasicBlock, 16, 16, 3, stride=1)
        self.layer2 = stage(BasicBlock, 16, 32, 3, stride=2)
        self.layer3 = stage(BasicBlock, 32, 64, 3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits
