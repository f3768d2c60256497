"""Checks an integer program's structure: every edge has a grid, and codes of fewer than 8 bits are bounded before anyone reads them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clinquant.core.integer import (
    BYTE,
    Clip,
    Conv,
    Dense,
    IntegerProgram,
    Linear,
    MaxPool,
    Operator,
    Reshape,
    Select,
    Slice,
    Table,
    Transpose,
)

KEEPS_CODES = (MaxPool, Reshape, Transpose, Select, Slice)
"""Operators that put out only codes which they read."""


def open_edges(program: IntegerProgram) -> tuple[str, ...]:
    """A sentence for every edge that could carry a code outside its width, and every weight that leaves its own; () where all is well.

    The integer operators saturate at 255 only, so a tensor of fewer than 8 bits must come from a Clip, or a
    Table whose entries lie in its width.
    """
    made = {operator.name: operator for operator in program.operators}
    readers = (*program.operators, *((program.class_map,) if program.class_map else ()))
    return tuple(sentence for reader in readers for sentence in (*_inputs(program, made, reader), *_weights(reader)))


def _inputs(program: IntegerProgram, made: dict[str, Operator], reader: Operator) -> Iterator[str]:
    for source in reader.inputs:
        if source == "image":
            continue
        if source not in program.tensors:
            yield f"{reader.name} reads {source}, which has no grid"
        elif not isinstance(reader, Clip) and _unbounded(program, made, source):
            yield f"{reader.name} reads {source}, whose {program.tensors[source].spec.bits}-bit codes no Clip bounds"


def _unbounded(program: IntegerProgram, made: dict[str, Operator], source: str) -> bool:
    spec = program.tensors[source].spec
    operator = made[source]
    while isinstance(operator, KEEPS_CODES):
        operator = made[operator.inputs[0]]
    if isinstance(operator, Table):
        return int(operator.table.max()) > spec.qmax
    bounded = isinstance(operator, Clip) and operator.low >= spec.qmin and operator.high <= spec.qmax
    return spec.qmax < BYTE[1] and not bounded


def _weights(reader: Operator) -> Iterator[str]:
    if not isinstance(reader, Conv | Dense | Linear):
        return
    odd, codes = isinstance(reader, Conv | Dense) and reader.weight_odd, reader.weight.astype(np.int64)
    if np.abs(codes).max() >= 1 << (reader.weight_bits - (not odd)) or (odd and (codes % 2 == 0).any()):
        yield f"{reader.name}: a weight needs more than {reader.weight_bits} bits"
