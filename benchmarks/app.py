"""The tablet app of a bundle in headless Chromium: bytes of the first load, time to ready, time to a result, frames a second, memory.

    python -m benchmarks.app --bundle run/bundle --images ../shared/data/kermany_cxr_orig_sample --out benchmarks/results/app.csv
        --same ../shared/data/kermany_cxr_orig_sample --same ../shared/data/kermany_cxr_224 --same ../shared/data/busi_256

Output bytes are compared with the workstation's on up to 200 pictures of each `--same`, evenly spaced.
Times are of one page on this machine, medians with minimum and maximum; `slow` stops every process of the browser five sixths of the
time (SIGSTOP and SIGCONT, 60 ms a turn), workers included, which the browser's own throttling leaves out. Made for Linux. A result is
timed from choosing the file to its words on the page. Needs playwright and chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows import Rows

from clinquant.data.decode import decode
from clinquant.edge.answer import find_images
from clinquant.edge.app.write import write_app
from clinquant.edge.runtimes.onnxruntime import OnnxRuntimeSession

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from chromium import KEPT, Memory, ask, chromium, open_app, serving, start_engine

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SLOWER = 6
MOST_COMPARED = 200
TURN = 0.06
"""Seconds in which a slowed process runs once and rests once."""


@contextmanager
def slowed(root: int) -> Iterator[None]:
    """Every descendant of process `root` runs a sixth of the time."""
    ended = threading.Event()

    def turns() -> None:
        while not ended.is_set():
            children = descendants(root)
            tell(children, signal.SIGSTOP)
            time.sleep(TURN * (SLOWER - 1) / SLOWER)
            tell(children, signal.SIGCONT)
            time.sleep(TURN / SLOWER)

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def descendants(root: int) -> list[int]:
    """Chromium's processes that render: what a slower tablet would be slower at."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if "--type=renderer" not in command:
                parents[int(folder.name)] *= -1
    return [process for process, parent in parents.items() if parent > 0 and _under(process, root, parents)]


def _under(process: int, root: int, parents: dict[int, int]) -> bool:
    while process := abs(parents.get(process, 0)):
        if process == root:
            return True
    return False


def tell(processes: list[int], what: signal.Signals) -> None:
    """Sends a signal to processes that may have ended."""
    for process in processes:
        try:
            os.kill(process, what)
        except ProcessLookupError:
            continue


def ready(context: Any, url: str, runs: int) -> list[float]:
    """Milliseconds from navigation to a page that answers, the app being kept."""
    found = []
    for _ in range(runs):
        page = open_app(context.new_page(), url)
        found.append(float(page.get_attribute("html", "data-ready")))
        page.close()
    return found


def results(page: Any, images: list[Path]) -> list[float]:
    """Milliseconds from choosing each file to its result."""
    found = []
    for image in images:
        page.evaluate("location.hash = '#/picture'")
        page.wait_for_selector(".drop")
        began = time.perf_counter()
        page.set_input_files("input[type=file][multiple]", image)
        page.wait_for_selector(".decision", timeout=120_000)
        found.append(1e3 * (time.perf_counter() - began))
    return found


def frames(page: Any) -> float:
    """Of a made camera, a second, after four of them."""
    page.evaluate("location.hash = '#/live'")
    page.click(".screen button.primary")
    page.wait_for_selector("[data-rate]")
    page.wait_for_timeout(4000)
    return float(page.get_attribute("[data-rate]", "data-rate"))


def growth(page: Any, memory: Memory, images: list[Path], count: int) -> int:
    """Bytes of heap that `count` pictures leave behind, after as many as there are have warmed up."""
    page.evaluate("location.hash = '#/picture'")
    page.wait_for_selector(".drop")
    done = page.locator("a.card").count()
    before = memory.bytes
    page.set_input_files("input[type=file][multiple]", [images[index % len(images)] for index in range(count)])
    page.locator("a.card").nth(done + count - 1).wait_for(timeout=600_000)
    return memory.bytes - before


def differing(page: Any, bundle: Path, images: list[Path]) -> int:
    """Pictures whose outputs have other bytes than on the workstation."""
    session = OnnxRuntimeSession(bundle / "model.onnx")
    start_engine(page)
    count = 0
    for image in images:
        data = image.read_bytes()
        expected, found = session.run(decode(data)[None]), ask(page, data)
        class_map = None if expected.class_map is None else expected.class_map.tobytes().hex()
        count += (found.get("logits"), found.get("classMap")) != (expected.logits.tobytes().hex(), class_map)
    return count


def spread(values: list[float], digits: int = 0) -> dict[str, object]:
    """Median, minimum and maximum."""
    return {"value": round(statistics.median(values), digits), "minimum": round(min(values), digits), "maximum": round(max(values), digits)}


def measure(bundle: Path, images: list[Path], same: list[Path], rows: Rows, folder: Path) -> None:
    """Adds the rows."""
    app = write_app(bundle, folder / "app")
    key = {"bundle": bundle.resolve().parent.name, "runtime": app.runtime, "model_bytes": app.files[app.model].bytes}
    with chromium(*CAMERA) as browser, serving(folder / "app") as server:
        context = browser.new_context()
        memory = Memory(page := context.new_page())
        open_app(page, server.url).wait_for_selector(KEPT)
        rows.add(key | {"measure": "first load beside the model", "unit": "bytes", "value": server.sent - app.files[app.model].bytes})
        rows.add(key | {"measure": "start to ready, kept", "unit": "ms", **spread(ready(context, server.url, 7))})
        results(page, images[:3])
        rows.add(key | {"measure": "file to result", "unit": "ms", **spread(results(page, images[:15]))})
        with slowed(os.getpid()):
            rows.add(key | {"measure": f"file to result, {SLOWER} times slower", "unit": "ms", **spread(results(page, images[:8]))})
        rows.add(key | {"measure": "camera", "unit": "frames a second", "value": round(frames(page), 1)})
        rows.add(key | {"measure": "heap after 200 pictures more", "unit": "bytes", "value": growth(page, memory, images, 200)})
        for place in same:
            found = find_images([str(place)])
            some = found[:: max(1, len(found) // MOST_COMPARED)][:MOST_COMPARED]
            measured = f"pictures of {place.name}, of {len(some)}, with other bytes than natively"
            rows.add(key | {"measure": measured, "unit": "pictures", "value": differing(page, bundle, some)})


def main() -> None:
    """Measures one bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--same", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("error: chromium is not installed. fix: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        measure(asked.bundle, find_images([str(asked.images)]), asked.same, Rows(asked.out, ("bundle", "measure", "unit")), Path(folder))


if __name__ == "__main__":
    main()
