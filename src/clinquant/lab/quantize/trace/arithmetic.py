"""Sums, differences, products and quotients, as torch.fx traces them."""

from __future__ import annotations

from torch import fx

from clinquant.core.errors import ClinquantError
from clinquant.lab.quantize.trace.symbolic_tracer import SymbolicTracer


def add(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """Two tensors, or a tensor and a number."""
    sources, numbers = _operands(fx_node)
    if fx_node.kwargs.get("alpha", 1) != 1:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: a sum with alpha.", fix="multiply before adding.")
    if numbers:
        tracer.add(fx_node, "affine", sources, factor=1.0, term=numbers[0])
    else:
        tracer.add(fx_node, "add", sources)


def multiply(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """Two tensors, or a tensor and a number."""
    sources, numbers = _operands(fx_node)
    if numbers:
        tracer.add(fx_node, "affine", sources, factor=numbers[0], term=0.0)
    else:
        tracer.add(fx_node, "mul", sources)


def subtract(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """A number from a tensor, or a tensor from a number."""
    sources, numbers = _operands(fx_node)
    if not numbers:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: the difference of two tensors.", fix="add, with weights negated.")
    if isinstance(fx_node.args[0], fx.Node):
        tracer.add(fx_node, "affine", sources, factor=1.0, term=-numbers[0])
    else:
        tracer.add(fx_node, "affine", sources, factor=-1.0, term=numbers[0])


def divide(tracer: SymbolicTracer, fx_node: fx.Node) -> None:
    """A tensor by a number."""
    sources, numbers = _operands(fx_node)
    if not numbers or not isinstance(fx_node.args[0], fx.Node):
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: division by a tensor.", fix="divide by a number only.")
    tracer.add(fx_node, "affine", sources, factor=1.0 / numbers[0], term=0.0)


def _operands(fx_node: fx.Node) -> tuple[list[fx.Node], list[float]]:
    """The tensors among two operands, and the numbers: two and none, or one and one."""
    operands = list(fx_node.args[:2])
    sources = [operand for operand in operands if isinstance(operand, fx.Node)]
    numbers = [float(operand) for operand in operands if isinstance(operand, int | float)]
    if len(operands) != 2 or len(sources) + len(numbers) != 2 or not sources:
        raise ClinquantError("operator-unsupported", f"{fx_node.name}: operands {operands}.", fix="combine tensors and numbers only.")
    return sources, numbers
