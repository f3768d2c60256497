"""A server under load: 5,000 requests of real images from 8 clients that each send the next as soon as the last is answered.

    python -m benchmarks.serve --bundle run/bundle --images ../shared/data/kermany_cxr_orig_sample --out benchmarks/results/serve.csv

Every answer is compared with the first one to the same image. Clients are threads of one process, the server is another; both share
the machine, so latencies hold the clients' work too. Memory is the server's resident set: its median in the second and in the last
tenth of the requests, and the most. A row is keyed by bundle, images, clients and requests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows import Rows

from clinquant.core.artifact import sha256_bytes
from clinquant.edge.answer import find_images
from clinquant.edge.bundle import open_bundle

SAMPLE_SECONDS = 0.01
"""Between two looks at the server's memory."""


@dataclass
class Load:
    """What the clients saw.

    Attributes:
        seconds: of each answered request, in the order of their ends.
        statuses: status -> how often.
        different: answers that were not the first one to the same image.
        resident: the server's resident bytes, each with the share of requests that was answered then.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    different: int = 0
    resident: list[tuple[float, int]] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Of the latencies, in milliseconds."""
        return float(np.percentile(self.seconds, share)) * 1e3

    def memory(self) -> tuple[float, float, int]:
        """Median resident bytes in the second and in the last tenth, and the most in between and after."""
        early = [held for share, held in self.resident if 0.1 <= share < 0.2]
        late = [held for share, held in self.resident if share >= 0.9]
        return statistics.median(early), statistics.median(late), max(held for share, held in self.resident if share >= 0.1)


def drive(port: int, process: int, images: Sequence[bytes], *, clients: int, requests: int) -> Load:
    """Sends `requests` images from `clients` threads, over one kept connection each."""
    load, lock, first = Load(), threading.Lock(), dict[str, Any]()
    numbers = iter(range(requests))

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            data = images[number % len(images)]
            began = time.perf_counter()
            connection.request("POST", "/v1/predictions", data, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            body = response.read()
            took = time.perf_counter() - began
            with lock:
                load.seconds.append(took)
                load.statuses[response.status] = load.statuses.get(response.status, 0) + 1
                answer = json.loads(body).get("answer")
                load.different += answer != first.setdefault(sha256_bytes(data), answer)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        load.resident.append((len(load.seconds) / requests, resident(process)))
        time.sleep(SAMPLE_SECONDS)
    for thread in threads:
        thread.join()
    load.resident.append((1.0, resident(process)))
    return load


def resident(process: int) -> int:
    """Bytes of memory that a process holds now (Linux)."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def server(bundle: Path) -> Iterator[tuple[int, int]]:
    """Port and process id of `clinquant serve`."""
    command = [sys.executable, "-m", "clinquant.cli.main", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            port = next(int(found[1]) for line in process.stderr if (found := re.match(r"open https?://.*:(\d+)/", line)))
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def row(bundle: Path, images: Path, *, clients: int, requests: int) -> dict[str, Any]:
    """One load's figures."""
    data = [path.read_bytes() for path in find_images([str(images)])]
    opened = open_bundle(bundle)
    with server(bundle) as (port, process):
        drive(port, process, data, clients=clients, requests=len(data))
        began = time.perf_counter()
        load = drive(port, process, data, clients=clients, requests=requests)
        seconds = time.perf_counter() - began
    early, late, most = load.memory()
    return {
        "architecture": opened.card.architecture,
        "images": images.name,
        "clients": clients,
        "requests": requests,
        "different_images": len(data),
        "answered_200": load.statuses.get(200, 0),
        "lost": requests - load.statuses.get(200, 0),
        "different_answers": load.different,
        "p50_ms": round(load.percentile(50), 2),
        "p95_ms": round(load.percentile(95), 2),
        "p99_ms": round(load.percentile(99), 2),
        "most_ms": round(load.percentile(100), 2),
        "p99_over_p50": round(load.percentile(99) / load.percentile(50), 2),
        "requests_a_second": round(requests / seconds, 1),
        "resident_mb_early": round(early / 1e6, 1),
        "resident_mb_late": round(late / 1e6, 1),
        "resident_mb_most": round(most / 1e6, 1),
    }


def main() -> None:
    """Adds a row to the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=5000)
    asked = parser.parse_args()
    rows = Rows(asked.out, ("architecture", "images", "clients", "requests"))
    key = {"architecture": open_bundle(asked.bundle).card.architecture, "images": asked.images.name}
    if key | {"clients": asked.clients, "requests": asked.requests} not in rows:
        rows.add(row(asked.bundle, asked.images, clients=asked.clients, requests=asked.requests))


if __name__ == "__main__":
    main()
