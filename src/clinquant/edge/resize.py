"""The Resize that stands first in every exported graph, and the training pixels it gives.

Training on these very pixels means that no resampling differs between the workstation and the device. ONNX `Resize` on
uint8 with antialiasing agrees with Pillow's bilinear within one grey level and is bit-identical between runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clinquant.core.artifact import replacing, sha256_json
from clinquant.core.preprocess import Preprocess
from clinquant.core.progress import Progress

OPSET = 21
IR_VERSION = 10


class PixelSource(Protocol):
    """`source[case_id]` is uint8 [h, w, 3] (`clinquant.data.pixels.Pixels`, or a plain dictionary)."""

    def __getitem__(self, case_id: str, /) -> NDArray[np.uint8]: ...


def resize_node(image: str, output: str, sizes: str) -> onnx.NodeProto:
    """Resize of uint8 [n, h, w, 3] to the two int64 numbers named `sizes`; bilinear with antialiasing."""
    return helper.make_node(
        "Resize",
        [image, "", "", sizes],
        [output],
        name="resize",
        mode="linear",
        antialias=1,
        exclude_outside=1,
        coordinate_transformation_mode="half_pixel",
        axes=[1, 2],
    )


class Resizer:
    """The Resize of `preprocess` alone, as a callable: uint8 [n, h, w, 3] to uint8 [n, size, size, 3]."""

    def __init__(self, preprocess: Preprocess) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.size = preprocess.size
        self._session = onnxruntime.InferenceSession(_graph(self.size).SerializeToString(), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The resized images; those of the right size as they came."""
        if images.shape[1:3] == (self.size, self.size):
            return images
        return np.asarray(self._session.run(None, {"image": images})[0])


def model_pixels(
    pixels: PixelSource,
    ids: Sequence[str],
    preprocess: Preprocess,
    *,
    cache: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """The network's input pixels of `ids`: uint8 [n, size, size, 3], in that order.

    Args:
        pixels: case id -> uint8 [h, w, 3].
        cache: a folder to keep the array in; it comes back memory-mapped. None keeps it in memory.
        key: what identifies the pixels (the study's hash); part of the file's name in `cache`.
        progress: called with (done, total).
    """
    shape = (len(ids), preprocess.size, preprocess.size, 3)
    if cache is None:
        return _fill(np.empty(shape, np.uint8), pixels, ids, preprocess, progress)
    path = cache / f"{sha256_json([key, list(ids), preprocess])[:16]}.npy"
    if not path.exists():
        with replacing(path) as temporary:
            array: Any = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            _allocate(temporary)
            _fill(array, pixels, ids, preprocess, progress)
            array.flush()
            del array
    return np.asarray(np.load(path, mmap_mode="r"))


def _allocate(path: Path) -> None:
    """Makes the disk keep the whole file's room now: to write a mapped page that finds none would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _fill(
    array: NDArray[np.uint8], pixels: PixelSource, ids: Sequence[str], preprocess: Preprocess, progress: Progress | None
) -> NDArray[np.uint8]:
    resize = Resizer(preprocess)
    for row, case in enumerate(ids):
        array[row] = resize(pixels[case][None])[0]
        if progress:
            progress(row + 1, len(ids))
    return array


def _graph(size: int) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
    resized = helper.make_tensor_value_info("resized", TensorProto.UINT8, ["n", size, size, 3])
    sizes = numpy_helper.from_array(np.array([size, size], np.int64), "sizes")
    graph = helper.make_graph([resize_node("image", "resized", "sizes")], "resize", [image], [resized], [sizes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
