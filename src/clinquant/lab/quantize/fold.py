"""Folds batch norm into the convolution before it: the arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clinquant.core.errors import ClinquantError
from clinquant.core.graph import Network, Node


def fold_batch_norm(network: Network) -> Network:
    """`network` without batch norm.

    Raises:
        ClinquantError: `batch-norm-unfoldable` where no convolution of its own stands before one.
    """
    consumers = network.consumers()
    changes: dict[str, Node | None] = {}
    for norm in network:
        if norm.op != "batch_norm":
            continue
        conv = network[norm.inputs[0]]
        if conv.op != "conv" or len(consumers[conv.name]) != 1:
            raise ClinquantError(
                "batch-norm-unfoldable",
                f"{norm.name} does not follow a convolution of its own.",
                fix="put a Conv2d directly before it (a depthwise 1x1 will do).",
            )
        changes[conv.name], changes[norm.name] = folded(conv, norm), None
    return network.replaced(changes)


def folded(conv: Node, norm: Node) -> Node:
    """`conv` with `norm` folded in.

    The output's `output_mean` and `output_deviation` [o] in training, beta and |gamma|, stay beside weight and bias for passes that ask.
    """
    p = {role: array.astype(np.float64) for role, array in norm.params.items()}
    factor = p["gamma"] / np.sqrt(p["variance"] + norm.attributes["epsilon"])
    weight = conv.params["weight"] * factor[:, None, None, None]
    bias = (conv.params.get("bias", np.float64(0)) - p["mean"]) * factor + p["beta"]
    params = {"weight": weight, "bias": bias, "output_mean": p["beta"], "output_deviation": np.abs(p["gamma"])}
    return replace(conv, params={role: np.asarray(array, np.float32) for role, array in params.items()})
