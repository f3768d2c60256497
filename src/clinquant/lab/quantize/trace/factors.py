"""Puts a number that a product of matrices is multiplied by, or one of its factors, into the product: it then costs nothing."""

from __future__ import annotations

from dataclasses import replace

from clinquant.core.graph import Network, Node


def with_factors_in_products(network: Network) -> Network:
    """`network` without the multiplications by a positive number that stand before or behind a `matmul` and are read by nothing else."""
    for node in network:
        if node.op == "affine" and node.attributes["term"] == 0 and node.attributes["factor"] > 0:
            target = _product(network, node)
            if target is not None:
                factor = target.attributes["factor"] * node.attributes["factor"]
                changed = replace(target, attributes={**target.attributes, "factor": factor})
                network = network.replaced({target.name: changed, node.name: None})
    return network


def _product(network: Network, node: Node) -> Node | None:
    """The product that `node` scales the result of, or a factor of."""
    readers, source = network.consumers(), network[node.inputs[0]]
    if source.op == "matmul" and len(readers[source.name]) == 1:
        return source
    while len(readers[node.name]) == 1 and (reader := readers[node.name][0]).op in ("transpose", "reshape", "matmul"):
        if reader.op == "matmul":
            return reader if reader.inputs[0] != reader.inputs[1] else None
        node = reader
    return None
