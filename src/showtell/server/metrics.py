"""What the server counts, in Prometheus' form. Several workers share their counts through files in one folder."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own: the folder in which processes share their counts

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "showtell_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self.failures = Counter("showtell_failures", "Requests that failed.", ["reason"], registry=self.registry)
        self.queue = Gauge(
            "showtell_queue_pictures",
            "Pictures being received, waiting or in work.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.batch = Histogram(
            "showtell_batch_pictures",
            "Pictures encoded together.",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 12, 16, 32, 64, 128, 256),
        )
        self.stage = Histogram(
            "showtell_stage_seconds",
            "Time of a picture in each stage: read, wait, encode, decode; and of whole requests.",
            ["stage"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.stages = {name: self.stage.labels(name) for name in ("read", "wait", "encode", "decode", "request")}

    def text(self) -> bytes:
        """All counts, those of the other workers included."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
