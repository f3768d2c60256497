"""Random views of training images that respect anatomy: what another positioning or exposure of the same patient could give.

No flip unless asked: a mirrored chest X-ray has its heart on the wrong side, an inverted one does not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How far a view may differ; every amount is drawn uniformly from [-x, x] for each image.

    Attributes:
        rotation: degrees.
        translation: share of the image's side.
        scale: share of the size.
        brightness: share of the full grey range, added.
        contrast: share of the distance of every grey level from the image's mean.
        horizontal_flip, vertical_flip: mirror half of the images.
    """

    rotation: float = 10.0
    translation: float = 0.06
    scale: float = 0.1
    brightness: float = 0.08
    contrast: float = 0.15
    horizontal_flip: bool = False
    vertical_flip: bool = False


def augment(pixels: Tensor, how: Augment, generator: torch.Generator) -> Tensor:
    """A random view of every image: uint8 [n, S, S, 3] to float32 [n, 3, S, S] in [0, 255]; the same for the same generator state.

    Outside the image its border is repeated. Rotation, shift and zoom are one bilinear resampling.
    """
    draws = torch.rand(7, len(pixels), generator=generator).to(pixels.device) * 2 - 1
    images = pixels.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(_views(draws[:5], how), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    contrast, brightness = 1 + how.contrast * draws[5], 255 * how.brightness * draws[6]
    return ((images - mean) * contrast.view(-1, 1, 1, 1) + mean + brightness.view(-1, 1, 1, 1)).clamp(0, 255)


def _views(draws: Tensor, how: Augment) -> Tensor:
    """float32 [n, 2, 3] maps from output to input coordinates, in units of half the side, from draws [5, n] in [-1, 1].

    One draw serves both flips and tells them apart by its sign and size: four equally likely quarters.
    """
    turn, zoom, right, down, flip = draws
    angle, size = turn * math.radians(how.rotation), 1 + zoom * how.scale
    mirror_x = torch.where(flip < 0, -1.0, 1.0) if how.horizontal_flip else torch.ones_like(flip)
    mirror_y = torch.where(flip.abs() < 0.5, -1.0, 1.0) if how.vertical_flip else torch.ones_like(flip)
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    first = torch.stack([cosine * mirror_x, -sine * mirror_y, 2 * how.translation * right], dim=1)
    second = torch.stack([sine * mirror_x, cosine * mirror_y, 2 * how.translation * down], dim=1)
    return torch.stack([first, second], dim=1)
