"""`clinquant serve`: the answers of `clinquant predict`, over HTTP."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from clinquant.core.artifact import sha256_bytes
from serving import SERVE, Answered, Served, form, serving
from tiny_bundle import write_bundle, write_pictures


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("serve")).path


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[Served]:
    with serving(bundle) as found:
        yield found


def pictures(folder: Path) -> list[Path]:
    """One image of every kind that is taken."""
    folder.mkdir()
    random = np.random.default_rng(3)
    colour = Image.fromarray(random.integers(0, 256, (37, 51, 3), dtype=np.uint8))
    grey16 = Image.fromarray(random.integers(0, 65536, (20, 30), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.save(folder / "colour.png")
    colour.save(folder / "colour.jpg", quality=80)
    colour.save(folder / "turned.jpg", exif=turned)
    colour.save(folder / "lossy.webp", quality=70)
    colour.save(folder / "exact.webp", lossless=True)
    colour.convert("P").save(folder / "palette.png")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("1").save(folder / "bits.png")
    grey16.save(folder / "grey16.png")
    colour.putalpha(128)
    colour.save(folder / "alpha.png")
    return sorted(folder.iterdir())


def predicted(bundle: Path, paths: list[Path]) -> dict[str, Any]:
    """What the command says of each file."""
    command = [sys.executable, "-m", "clinquant.cli.main", "predict", str(bundle), *map(str, paths), "--json"]
    body = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {answer.pop("image"): answer for answer in body["answers"]}


def check_equal(served: Served, bundle: Path, paths: list[Path]) -> None:
    for path, expected in predicted(bundle, paths).items():
        data = Path(path).read_bytes()
        answered = served.predict(data)
        assert answered.status == 200, answered.body
        assert answered.json["answer"] == {"image": sha256_bytes(data), **expected}, path


def test_answers_are_those_of_predict_bit_for_bit(served: Served, bundle: Path, tmp_path: Path) -> None:
    """JSON prints floats so that they read back bit for bit; equal text is equal numbers."""
    check_equal(served, bundle, pictures(tmp_path / "pictures"))


def test_real_images_are_answered_as_by_predict(served: Served, bundle: Path, shared_data: Path) -> None:
    paths = sorted((shared_data / "kermany_cxr_orig_sample").rglob("*.jp*g"))[:12]
    assert len(paths) == 12
    check_equal(served, bundle, paths)


def test_a_form_is_the_same_as_the_bytes(served: Served, tmp_path: Path) -> None:
    data = (write_pictures(tmp_path / "p", each=1) / "dark" / "dark0.png").read_bytes()
    body, kind = form(("image", "../../any name.gif", data))
    assert served.predict(body, kind).json == served.predict(data, "image/png").json
    assert served.predict(data, "image/jpeg").status == 200, "the bytes decide: phones misname files"


def test_the_model_says_what_it_is(served: Served, bundle: Path) -> None:
    model = served.request("GET", "/v1/model").json
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert model["model_sha256"] == manifest["files"]["model.onnx"]["sha256"]
    assert model["manifest_sha256"] == sha256_bytes((bundle / "manifest.json").read_bytes())
    assert model["card"]["classes"] == ["dark", "bright"] and model["evidence"]["images"] == 40
    assert served.request("GET", "/healthz").json == {"status": "ok", "model_sha256": model["model_sha256"]}


def test_answers_keep_to_the_description(served: Served, tmp_path: Path) -> None:
    document = served.request("GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0"
    data = (write_pictures(tmp_path / "p", each=1) / "dark" / "dark0.png").read_bytes()
    for name, answered in (
        ("Prediction", served.predict(data)),
        ("Model", served.request("GET", "/v1/model")),
        ("Problem", served.predict(b"no image")),
    ):
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(answered.json)
    for path, methods in document["paths"].items():
        for method in methods:
            assert served.request(method.upper(), path).status != 404


def test_counters_count(served: Served, tmp_path: Path) -> None:
    data = (write_pictures(tmp_path / "p", each=1) / "bright" / "bright0.png").read_bytes()

    def counted() -> float:
        text = served.request("GET", "/metrics").body.decode()
        found = re.search(r'clinquant_predictions_total\{class="bright",refer="false"\} (\S+)', text)
        return float(found[1]) if found else 0.0

    before = counted()
    assert served.predict(data).status == 200
    assert counted() == before + 1
    assert "any-path" not in served.request("GET", "/any-path").headers and b"any-path" not in served.request("GET", "/metrics").body


def test_every_answer_is_guarded(served: Served) -> None:
    for path in ("/", "/v1/model", "/nowhere"):
        headers = served.request("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers
    assert b"Research use only" in served.request("GET", "/").body


def test_a_tampered_bundle_is_not_served(bundle: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("model.onnx", "card.json", "golden.npz", "evidence.json", "manifest.json")):
        copy = tmp_path / str(number)
        shutil.copytree(bundle, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        done = subprocess.run([*SERVE, str(copy), "--port", "0"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 4 and "error[bundle-changed]" in done.stderr, done.stderr


def test_a_full_queue_says_when_to_come_again(bundle: Path) -> None:
    random = np.random.default_rng(0)
    out = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (2500, 2500, 3), dtype=np.uint8)).save(out, "PNG", compress_level=1)
    answers: list[Answered] = []
    with serving(bundle, "--queue", "2") as served:
        threads = [threading.Thread(target=lambda: answers.append(served.predict(out.getvalue()))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status for answer in answers} == {200, 503}
        refused = [answer for answer in answers if answer.status == 503]
        assert all(answer.json["code"] == "server-busy" and int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert served.predict(out.getvalue()).status == 200, "it serves again as soon as there is room"


def test_what_is_in_hand_is_finished_when_it_is_told_to_stop(bundle: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2500, 2500, 3), dtype=np.uint8)).save(out, "PNG", compress_level=1)
    answers: list[Answered] = []
    with serving(bundle) as served:
        thread = threading.Thread(target=lambda: answers.append(served.predict(out.getvalue())))
        thread.start()
        while "clinquant_in_hand 1.0" not in served.request("GET", "/metrics").body.decode():
            time.sleep(0.005)
        served.process.send_signal(signal.SIGINT)
        thread.join()
        assert served.process.wait(20) == 0
    assert [answer.status for answer in answers] == [200]


def test_a_used_port_is_named(served: Served, bundle: Path) -> None:
    done = subprocess.run([*SERVE, str(bundle), "--port", str(served.port)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and done.stderr.splitlines()[-2].startswith("error[port-busy]") and "Traceback" not in done.stderr


def test_a_network_address_over_plain_http_is_warned_of(bundle: Path) -> None:
    with serving(bundle, "--host", "0.0.0.0") as served:
        assert any("unencrypted" in line for line in served.said)
    with serving(bundle) as served:
        assert not any("warning" in line for line in served.said)
