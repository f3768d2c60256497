"""One loaded model behind a bounded queue: predictions are computed one after another, in a thread of their own."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from clinquant.core.errors import ClinquantError, Exit
from clinquant.edge.answer import Answer, answer_one
from clinquant.edge.bundle import Bundle
from clinquant.edge.runtimes import runtime_module
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.upload import check_header


class Busy(Exception):
    """The queue is full; `retry_after` is the whole seconds after which the predictions now in hand should be done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy for {retry_after} s")
        self.retry_after = retry_after

    @property
    def error(self) -> ClinquantError:
        """As a client is told."""
        return ClinquantError(
            "server-busy",
            "as many predictions as the server keeps in hand are waiting.",
            fix=f"send the image again in {self.retry_after} s.",
            exit_code=Exit.ENVIRONMENT,
        )


class Predictor:
    """Answers images with the model of `bundle`, as `clinquant predict` does.

    Args:
        bundle: verified.
        limits: of the queue and of pictures.
        threads: of the runtime; the outputs of an integer file do not depend on it.
    """

    def __init__(self, bundle: Bundle, limits: Limits, *, runtime: str = "onnxruntime", threads: int = 1) -> None:
        self.bundle, self.limits = bundle, limits
        self._session = runtime_module(runtime).load(bundle.model, threads)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="clinquant-inference")
        self._seconds = 0.0
        self.in_hand = 0

    @property
    def runtime(self) -> str:
        """Name and version."""
        return self._session.runtime

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, held from before the upload is read until the answer is there. Raises `Busy`."""
        if self.in_hand >= self.limits.queue:
            raise Busy(max(1, math.ceil(self.in_hand * self._seconds)))
        self.in_hand += 1
        try:
            yield
        finally:
            self.in_hand -= 1

    async def predict(self, data: bytes, *, name: str) -> tuple[Answer, float]:
        """The answer to an encoded image and the seconds its decoding and inference took. Raises as `check_header` and `decode`."""
        answer, seconds = await asyncio.get_running_loop().run_in_executor(self._worker, self._timed, data, name)
        self._seconds = seconds if not self._seconds else 0.9 * self._seconds + 0.1 * seconds
        return answer, seconds

    def close(self) -> None:
        """Ends the thread after what it is computing."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _timed(self, data: bytes, name: str) -> tuple[Answer, float]:
        start = time.perf_counter()
        check_header(data, self.limits)
        answer = answer_one(data, self._session, self.bundle.card, name=name)
        return answer, time.perf_counter() - start
