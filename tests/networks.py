"""Small networks that hold what the zoo does not: concatenation, hidden linear layers, SiLU, hard-swish, squeeze-and-excitation."""

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


class SmallSiLU(nn.Module):
    """An EfficientNet in small: SiLU, squeeze-and-excitation by 1x1 convolutions and a sigmoid, a skip connection."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.SiLU(inplace=True))
        self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False), nn.BatchNorm2d(24), nn.SiLU())
        self.reduce = nn.Conv2d(24, 4, 1)
        self.excite = nn.Conv2d(4, 24, 1)
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.last = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.head = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.depthwise(self.expand(x))
        y = y * torch.sigmoid(self.excite(F.silu(self.reduce(y.mean((2, 3), keepdim=True)))))
        x = self.last(x + self.project(y))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Squeeze(nn.Module):
    """Squeeze-and-excitation by linear layers and a hard sigmoid (Hu et al. 2018, arXiv 1709.01507; Howard et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Linear(channels, channels // 4)
        self.excite = nn.Linear(channels // 4, channels)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, channels, _, _ = x.size()
        y = self.pool(x).view(n, channels)
        y = self.gate(self.excite(F.relu(self.reduce(y))))
        return y.view(n, channels, 1, 1) * x


class SmallHardSwish(nn.Module):
    """A MobileNetV3 in small: hard-swish, depthwise convolution, squeeze-and-excitation, a hidden layer behind the pooling."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8, momentum=0.9),
            nn.Hardswish(),
            nn.Conv2d(8, 16, 1, bias=False),
            nn.BatchNorm2d(16, momentum=0.9),
            nn.Hardswish(inplace=True),
            nn.Conv2d(16, 16, 5, 2, 2, groups=16, bias=False),
            nn.BatchNorm2d(16, momentum=0.9),
            Squeeze(16),
            nn.Hardswish(),
            nn.Conv2d(16, 24, 1, bias=False),
            nn.BatchNorm2d(24, momentum=0.9),
            nn.Hardswish(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 16),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(16, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class EveryFunction(nn.Module):
    """Each function of one number, as a layer, a function or a method; numbers added, subtracted, multiplied and divided by."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.leaky, self.elu = nn.LeakyReLU(0.2), nn.ELU(0.7)
        self.mixed = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(24, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.leaky(self.stem(x))
        y = F.gelu(self.mixed(self.elu(x)))
        z = F.gelu(self.mixed(x.tanh()), approximate="tanh")
        w = x * F.relu6(x + 3) / 6 - 0.25
        return self.head(torch.cat([F.leaky_relu(2 * w, 0.3), y.sigmoid(), 1 - z], 1).mean((2, 3)))


class Attention(nn.Module):
    """Self-attention of several heads, written out (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.project = nn.Linear(features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, features = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, features // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * (features // self.heads) ** -0.5).softmax(-1)
        return self.project((weights @ v).transpose(1, 2).reshape(n, tokens, features))


class SmallTransformer(nn.Module):
    """A vision transformer in small (Dosovitskiy et al. 2020, arXiv 2010.11929): patches, class token, positions, blocks."""

    def __init__(self, classes: int = 3, size: int = 28, ready_made: bool = False) -> None:
        super().__init__()
        features, tokens = 24, (size // 7) ** 2 + 1
        self.patches = nn.Conv2d(3, features, 7, 7)
        self.token = nn.Parameter(0.5 * torch.randn(1, 1, features))
        self.positions = nn.Parameter(0.5 * torch.randn(1, tokens, features))
        self.norm1 = nn.LayerNorm(features)
        self.attention = nn.MultiheadAttention(features, 3, batch_first=True) if ready_made else Attention(features, 3)
        self.norm2 = nn.LayerNorm(features)
        self.mlp = nn.Sequential(nn.Linear(features, 48), nn.GELU(), nn.Dropout(0.1), nn.Linear(48, features))
        self.norm = nn.LayerNorm(features)
        self.ready_made = ready_made
        self.head = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        y = self.norm1(x)
        x = x + (self.attention(y, y, y)[0] if self.ready_made else self.attention(y))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm(x)[:, 0])


class PooledTokens(nn.Module):
    """Torch's own encoder layer, no class token: the tokens' mean goes through a hidden layer. Control flow depends on a shape."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 7, 7)
        self.norm = nn.BatchNorm2d(16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="relu")
        self.hidden, self.head = nn.Linear(16, 12), nn.Linear(12, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.patches(x))
        if x.shape[-1] != x.shape[-2]:
            raise ValueError("square images only")
        x = self.encoder(x.flatten(2).permute(0, 2, 1)).mean(1)
        return self.head(F.silu(self.hidden(x)))
