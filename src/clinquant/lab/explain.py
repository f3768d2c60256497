"""Explanations by gradients, by captum: of a float network, and of the quantized one as it is deployed (`Settled`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinquant.core.errors import ClinquantError, missing_extra
from clinquant.core.preprocess import Preprocess
from clinquant.core.progress import Progress
from clinquant.edge.explain import enlarged
from clinquant.lab.classifier import Classifier
from clinquant.lab.objectives.mode import evaluating
from clinquant.lab.quantize.execute import normalised
from clinquant.lab.quantize.guidance import Teacher
from clinquant.lab.quantize.quantized import QuantizedNetwork
from clinquant.lab.quantize.settled import Settled
from clinquant.lab.quantize.trace.trace import trace

BATCH = 32
PATH_STEPS, SAMPLES, NOISE = 32, 16, 0.15
"""Steps of integrated gradients; noisy copies of SmoothGrad, and their deviation as a share of the picture's range."""


def differentiable(network: Classifier | QuantizedNetwork) -> nn.Module:
    """What gives logits of normalised images and has a gradient, its feature map before the pooling going through `tap`.

    A quantized network is on all its grids; rounding passes gradients on, within the ends of a grid.
    """
    if isinstance(network, QuantizedNetwork):
        return Settled(network).eval()
    return Teacher(trace(network.module.eval(), network.card.preprocess.size)).eval()


def gradient_maps(
    method: str,
    module: nn.Module,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    preprocess: Preprocess,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Explanations float64 [n, s, s] by one of `METHODS`, of input pixels uint8 [n, s, s, 3] for the classes `labels` [n].

    Attributions are summed over the channels in absolute value, Grad-CAM's excepted, which has none.

    Args:
        module: as `differentiable` gives.

    Raises:
        ClinquantError: `extra-missing` without captum, `explain-no-map` for Grad-CAM of a network without a last feature map.
    """
    attribute = METHODS[method](module, _captum())
    found = []
    for start in range(0, len(pixels), BATCH):
        rows = slice(start, start + BATCH)
        images, targets = normalised(pixels[rows], preprocess).requires_grad_(), torch.from_numpy(np.array(labels[rows]))
        with evaluating(module), torch.random.fork_rng(devices=[]):
            torch.manual_seed(start)
            found.append(attribute(images, targets).detach().abs().sum(1).double().numpy())
        if progress:
            progress(min(start + BATCH, len(pixels)), len(pixels))
    maps = np.concatenate(found)
    size = pixels.shape[1:3]
    return maps if maps.shape[1:] == size else np.stack([enlarged(each.astype(np.float32), (size[0], size[1])) for each in maps])


Attribute = Callable[[Tensor, Tensor], Tensor]


def _gradient(module: nn.Module, captum: Any) -> Attribute:
    """d logit / d image (Simonyan et al. 2013, arXiv 1312.6034)."""
    method = captum.Saliency(module)
    return lambda images, targets: torch.as_tensor(method.attribute(images, target=targets, abs=True))


def _integrated_gradients(module: nn.Module, captum: Any) -> Attribute:
    """The mean gradient on the way from mid-grey, times the way (Sundararajan et al. 2017, arXiv 1703.01365)."""
    method = captum.IntegratedGradients(module)
    return lambda images, targets: torch.as_tensor(
        method.attribute(images, target=targets, n_steps=PATH_STEPS, internal_batch_size=4 * BATCH)
    )


def _smoothgrad(module: nn.Module, captum: Any) -> Attribute:
    """The mean gradient under noise (Smilkov et al. 2017, arXiv 1706.03825)."""
    method = captum.NoiseTunnel(captum.Saliency(module))

    def attribute(images: Tensor, targets: Tensor) -> Tensor:
        deviation = NOISE * float((images.amax((1, 2, 3)) - images.amin((1, 2, 3))).mean().detach())
        found = method.attribute(images, nt_type="smoothgrad", nt_samples=SAMPLES, stdevs=deviation, target=targets, abs=False)
        return torch.as_tensor(found)

    return attribute


def _grad_cam(module: nn.Module, captum: Any) -> Attribute:
    """Features before the pooling, weighted by their mean gradient, where positive (Selvaraju et al. 2017, arXiv 1610.02391)."""
    if getattr(module, "classifier", None) is None:
        raise ClinquantError("explain-no-map", "this network has no feature map before a global pooling.", fix="ask for gradient.")
    method = captum.LayerGradCam(module, module.tap)
    return lambda images, targets: torch.as_tensor(method.attribute(images, target=targets, relu_attributions=True))


METHODS: dict[str, Callable[[nn.Module, Any], Attribute]] = {
    "gradient": _gradient,
    "integrated_gradients": _integrated_gradients,
    "smoothgrad": _smoothgrad,
    "grad_cam": _grad_cam,
}
"""Method -> how it attributes a logit to the pixels of a batch."""


def _captum() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise missing_extra("captum", "explain") from error
    return attr
