"""Small networks that hold what the zoo does not: concatenation, pooling, hidden linear layers, unfused activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Branches(nn.Module):
    """Concatenation, average pooling, an activation with a second reader, a sum without an activation, asymmetric padding."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.left = nn.Conv2d(8, 8, 3, stride=2)
        self.right = nn.Conv2d(8, 4, 1, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.head = nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = F.relu(x)
        x = x + y
        x = torch.cat([F.relu6(self.left(self.pad(x))), self.norm(self.right(x))], 1)
        x = F.avg_pool2d(x, 2)
        x = torch.relu(x)
        x = x + self.deep(x)
        return self.head(x.mean((2, 3)))


class Plain(nn.Module):
    """A LeNet: maximum pooling, flattened plane, hidden linear layers, bounded activation."""

    def __init__(self, classes: int = 2, size: int = 28) -> None:
        super().__init__()
        plane = ((size - 4) // 2 - 2) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3),
            nn.Hardtanh(-0.1, 0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * plane * plane, 20),
            nn.ReLU6(),
            nn.Dropout(0.5),
            nn.Linear(20, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
