"""Counters for Prometheus: how many requests, how long predictions take, what was answered. No image, name or address is in them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from clinquant import __version__
from clinquant.edge.answer import Answer
from clinquant.edge.serve.predictor import Predictor

MEDIA_TYPE = CONTENT_TYPE_LATEST

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of the histogram's buckets: from a small network on a workstation to a large picture on a Raspberry Pi."""

OUT_OF_SCOPE = "out of scope"
"""In place of a class where none was named."""


class Metrics:
    """The counters of one server."""

    def __init__(self, predictor: Predictor) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        info = Info("clinquant", "Version and bundle.", registry=self._registry)
        manifest = predictor.bundle.manifest
        info.info(
            {
                "version": __version__,
                "bundle_version": str(manifest.bundle_version),
                "model_sha256": manifest.files["model.onnx"].sha256,
                "runtime": predictor.runtime,
            }
        )
        self._requests = Counter("clinquant_requests", "Answered requests.", ["path", "status"], registry=self._registry)
        self._answers = Counter("clinquant_predictions", "Predictions by class.", ["class", "refer"], registry=self._registry)
        self._seconds = Histogram(
            "clinquant_prediction_seconds", "Decoding and inference of one image.", buckets=SECONDS, registry=self._registry
        )
        in_hand = Gauge("clinquant_in_hand", "Predictions waiting or running.", registry=self._registry)
        in_hand.set_function(lambda: predictor.in_hand)

    def answered(self, path: str, status: int) -> None:
        """Counts a request; `path` is a route's own, not the client's words."""
        self._requests.labels(path, str(status)).inc()

    def predicted(self, answer: Answer, seconds: float) -> None:
        """Counts a prediction."""
        self._answers.labels(answer.class_name or OUT_OF_SCOPE, str(answer.refer).lower()).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """What `/metrics` answers."""
        return generate_latest(self._registry)
