"""Attribution preservation, after Park et al. 2020 (arXiv 2010.15054): a compressed network looks where its teacher looks.

M = sum over channels of (alpha_c A_c)^2, of the feature map A before the global pooling, alpha_c the sensitivity of the class to it; the
term is the squared distance of the two networks' maps, each divided by its norm. With global pooling and one linear layer alpha is that
layer's row of weights, so no gradient of a gradient is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clinquant.core.errors import ClinquantError
from clinquant.lab.objectives.objective import Batch

SMALLEST = 1e-12
"""Added to a squared norm, for a map that is zero everywhere."""


@dataclass(frozen=True, kw_only=True)
class PreserveAttribution:
    """Adds weight |M_student / |M_student| - M_teacher / |M_teacher||^2, mean over the images, to the loss.

    The class is the true one. The paper matches maps of several layers and also draws channels at random; here it is one map, whole.

    Attributes:
        weight: of the term; the two maps of an image are at most 2 apart in square, for they hold no negative value.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ClinquantError("objective-invalid", f"attribution preservation with weight {self.weight}.", fix="give 0 or more.")

    def answering(self, module: nn.Module) -> nn.Module:
        """The module."""
        return module

    def term(self, batch: Batch) -> Tensor | None:
        """The mean squared distance times `weight`, without unit.

        Raises:
            ClinquantError: `objective-unfit` where there is no teacher, or the network does not end in global pooling and a linear layer.
        """
        teacher, student = batch.teacher, batch.module
        if teacher is None or batch.feature is None:
            raise ClinquantError(
                "objective-unfit",
                "attribution preservation needs a float teacher, and a network that ends in global pooling and a linear layer.",
                fix="give it to quantization-aware training (FineTune) with distillation, of a network with a class map.",
            )
        with torch.no_grad():
            batch.forward(teacher, batch.images)
            taught = attribution(kept_feature(teacher), class_weights(teacher), batch.labels)
        found = attribution(batch.feature, class_weights(student), batch.labels)
        return self.weight * (found - taught).square().sum((1, 2)).mean()


def attribution(feature: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """float32 [n, h, w], of norm 1: sum over c of (weights[label, c] feature[c])^2, of [n, c, h, w] and [classes, c]."""
    alpha = weights[labels].float()[:, :, None, None]
    found = (alpha * feature.float()).square().sum(1)
    return found / (found.square().sum((1, 2), keepdim=True) + SMALLEST).sqrt()


def kept_feature(module: nn.Module) -> Tensor:
    """[n, c, h, w] before the global pooling, of the last forward."""
    return torch.as_tensor(module.feature)


def class_weights(module: nn.Module) -> Tensor:
    """[classes, c] of the last linear layer, a constant to the term: the map is to follow the features."""
    return torch.as_tensor(module.class_weights).detach()
