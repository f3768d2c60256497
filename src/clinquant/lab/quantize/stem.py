"""Reads the image in blocks: a stride-2 convolution of 3 channels becomes a stride-1 convolution of 12, with the same sums.

A runtime gathers windows channel by channel; three at a time is slow (the 7x7 stem took a fifth of ResNet-18's time at 224).
Blocks of 2x2 pixels as channels hold the same values in longer runs; the kernel is padded to an even side with zero taps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clinquant.core.integer import Conv, Image, IntegerProgram

BLOCK = 2


def blocked_stem(program: IntegerProgram) -> IntegerProgram:
    """`program` with its first convolution on blocks where that fits, else as it is; no code of any other tensor changes."""
    image = program.operators[0]
    readers = [operator for operator in program.operators if image.name in operator.inputs]
    if not isinstance(image, Image) or len(readers) != 1 or not isinstance(readers[0], Conv) or program.size % BLOCK:
        return program
    stem = on_blocks(readers[0], program.size)
    if stem is None:
        return program
    operators = [replace(image, block=BLOCK) if o is image else stem if o is readers[0] else o for o in program.operators]
    return replace(program, operators=tuple(operators))


def on_blocks(conv: Conv, size: int) -> Conv | None:
    """`conv`, which reads a plane of `size` pixels, rewritten to read it in blocks; None where it cannot be."""
    if conv.stride != (BLOCK, BLOCK) or conv.dilation != (1, 1) or conv.groups != 1:
        return None
    o, channels, *kernel = conv.weight.shape
    begins = [-(-pad // BLOCK) for pad in conv.pads[:2]]
    offsets = [BLOCK * begin - pad for begin, pad in zip(begins, conv.pads[:2], strict=True)]
    sides = [-(-(side + offset) // BLOCK) for side, offset in zip(kernel, offsets, strict=True)]
    outputs = [(size + conv.pads[axis] + conv.pads[axis + 2] - kernel[axis]) // BLOCK + 1 for axis in (0, 1)]
    ends = [outputs[axis] - 1 - size // BLOCK - begins[axis] + sides[axis] for axis in (0, 1)]
    if min(ends) < 0:
        return None
    padded = np.zeros((o, channels, BLOCK * sides[0], BLOCK * sides[1]), np.int8)
    padded[:, :, offsets[0] : offsets[0] + kernel[0], offsets[1] : offsets[1] + kernel[1]] = conv.weight
    blocks = padded.reshape(o, channels, sides[0], BLOCK, sides[1], BLOCK).transpose(0, 3, 5, 1, 2, 4)
    weight = np.ascontiguousarray(blocks.reshape(o, -1, *sides))
    return replace(conv, weight=weight, stride=(1, 1), pads=(begins[0], begins[1], ends[0], ends[1]))
