"""The ResNet-18 of the MedMNIST benchmark at 28 px: 3x3 stem of stride 1 and no max-pooling.

Yang et al. 2023 (MedMNIST v2, arXiv 2110.14795), the model of their published experiments.
"""

from __future__ import annotations

from torch import Tensor, nn

from clinquant.lab.architectures.residual import BasicBlock, stage


def resnet18_28(num_classes: int) -> ResNet18Small:
    """ResNet-18 for 28 to 64 px: 11.2 million parameters, 0.46 GMAC at 28 px."""
    return ResNet18Small(num_classes)


def our_name(key: str) -> str:
    """Our name of a parameter of the benchmark's checkpoints, which say `shortcut` and `linear`; ours stay as they are."""
    return key.replace(".shortcut.", ".downsample.").replace("linear.", "fc.")


class ResNet18Small(nn.Module):
    """float32 [N, 3, S, S] to logits [N, num_classes]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = stage(BasicBlock, 64, 64, 2, stride=1)
        self.layer2 = stage(BasicBlock, 64, 128, 2, stride=2)
        self.layer3 = stage(BasicBlock, 128, 256, 2, stride=2)
        self.layer4 = stage(BasicBlock, 256, 512, 2, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.flatten(self.avgpool(x)))
        return logits
