"""The tablet app where the device will not do as asked: storage refused or full, no camera, two apps of one origin, names that are long."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app_bundle import write_integer_bundle
from chromium import KEPT, ask, open_app, serving, start_engine
from clinquant.data.decode import decode
from clinquant.edge.agree.agree import agree
from clinquant.edge.app.write import write_app
from clinquant.edge.bundle import Bundle
from clinquant.edge.runtimes.onnxruntime import load
from clinquant.lab.quantize.widths import Widths
from networks import SmallTransformer
from tiny_bundle import write_pictures

NAMES = (
    "Chronic obstructive pulmonary disease with acute lower respiratory infection, unspecified",
    "结核病",
    "الالتهاب الرئوي الجرثومي المكتسب",
    "ปอดอักเสบจากเชื้อไวรัส",
    "normal",
    '<b>bold</b> & "quoted"',
    "Pneumonoultramicroscopicsilicovolcanoconiosis" * 2,
    "Ödem, ß",
    "a",
    "z" * 90,
    "नमूना",
    "=1+1",
)

REFUSED = """() => {
  const refuse = () => { throw new DOMException("denied", "SecurityError"); };
  Object.defineProperty(window, "localStorage", { get: refuse });
  Object.defineProperty(window, "indexedDB", { value: { open: refuse } });
  navigator.serviceWorker.register = () => Promise.reject(new DOMException("denied", "SecurityError"));
  navigator.storage.persisted = navigator.storage.persist = () => Promise.reject(new DOMException("denied", "SecurityError"));
}"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(write_pictures(tmp_path_factory.mktemp("pictures") / "p", each=1).rglob("*.png"))


def answer(page: Any, picture: Path) -> str:
    page.set_input_files("input[type=file][multiple]", picture)
    page.wait_for_selector(".decision")
    return str(page.inner_text("main"))


def history(page: Any) -> str:
    page.evaluate("location.hash = '#/history'")
    page.wait_for_selector(".cards, .note, main .lead")
    return str(page.inner_text("main"))


def test_where_storage_is_refused_it_answers_and_says_that_nothing_is_kept(context: Any, tablet_app: Path, picture: Path) -> None:
    context.add_init_script(f"({REFUSED})()")
    with serving(tablet_app) as server:
        page = open_app(context.new_page(), server.url)
        words = answer(page, picture)
        assert "not kept on this device" in words and "SecurityError" in words
        assert "keeps nothing here" in history(page)
        page.wait_for_selector("#badge[data-state=failed]")
        page.evaluate("location.hash = '#/settings'")
        page.select_option("#language", "fr")
        page.wait_for_selector("html[lang=fr]", state="attached")
        page.check("input[value=dark]")
        assert page.get_attribute("html", "data-theme") == "dark"


def test_where_storage_is_full_it_answers_and_says_that_nothing_is_kept(context: Any, tablet_app: Path, picture: Path) -> None:
    with serving(tablet_app) as server:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Storage.overrideQuotaForOrigin", {"origin": server.url.rstrip("/"), "quotaSize": 1000})
        open_app(page, server.url).wait_for_selector("#badge[data-state=failed]")
        assert "not kept on this device" in answer(page, picture)
        page.evaluate("location.hash = '#/settings'")
        page.wait_for_selector("text=Free some storage")


def test_a_camera_that_is_refused_is_said_to_be(context: Any, tablet_app: Path) -> None:
    context.add_init_script("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))")
    with serving(tablet_app) as server:
        page = open_app(context.new_page(), server.url + "#/live")
        page.click(".screen button.primary")
        page.wait_for_selector("text=NotAllowedError")
        assert page.is_visible("text=Start the camera")


def test_two_apps_of_one_origin_leave_each_other_alone(context: Any, integer_bundle: Bundle, tmp_path: Path, picture: Path) -> None:
    """The second has an older version of another bundle: that is no step back for it."""
    shutil.copytree(integer_bundle.path.parent, tmp_path / "newer")
    newer = write_integer_bundle(tmp_path / "newer", gain=2.0)
    assert newer.manifest.bundle_version == 2
    write_app(newer.path, tmp_path / "site" / "a")
    write_app(integer_bundle.path, tmp_path / "site" / "b")
    with serving(tmp_path / "site") as server:
        for place in ("a", "b"):
            page = open_app(context.new_page(), f"{server.url}{place}/")
            assert page.query_selector("[data-code]") is None
            page.wait_for_selector(KEPT)
            answer(page, picture)
            page.close()
    for place, version in (("a", 2), ("b", 1)):
        page = open_app(context.new_page(), f"{server.url}{place}/")
        assert answer(page, picture)
        page.evaluate("location.hash = '#/settings'")
        assert f"Bundle version {version} " in page.inner_text("main")
        history(page)
        page.locator(".entry").nth(1).wait_for()
        assert page.locator(".entry").count() == 2
        page.close()


def test_many_classes_with_long_names_of_any_script(context: Any, picture: Path, tmp_path: Path) -> None:
    write_app(write_integer_bundle(tmp_path, classes=NAMES).path, tmp_path / "app")
    with serving(tmp_path / "app") as server:
        page = open_app(context.new_page(), server.url)
        page.set_viewport_size({"width": 320, "height": 640})
        answer(page, picture)
        shares = [float(text.strip("%<> ")) for text in page.locator(".bar-share").all_inner_texts()]
        assert len(shares) == len(NAMES) and shares == sorted(shares, reverse=True)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert page.evaluate("document.querySelector('header').offsetHeight") < 160
        page.evaluate("location.hash = '#/evidence'")
        assert all(name in page.inner_text("main") for name in NAMES)


@pytest.mark.parametrize("kind", ["transformer", "full 8 bits", "mixed widths"])
def test_every_kind_of_bundle_opens_and_answers_as_here(context: Any, tmp_path: Path, kind: str) -> None:
    """Float islands (by tolerance), full 8-bit weights (exact in WebAssembly), and widths that differ by layer."""
    widths = Widths(weight={"layer1.0.conv1": 4, "layer2.0.conv1": 2}, activation={"layer1.0.conv1": 4, "layer2.0.conv1": 2})
    made = {
        "transformer": lambda: write_integer_bundle(tmp_path, architecture="mine:net", module=SmallTransformer(), classes=("a", "b", "c")),
        "full 8 bits": lambda: write_integer_bundle(tmp_path, target="x86-vnni"),
        "mixed widths": lambda: write_integer_bundle(tmp_path, bits="w42", widths=widths),
    }[kind]()
    write_app(made.path, tmp_path / "app")
    pixels = np.random.default_rng(0).integers(0, 256, (41, 33, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    encoded = (tmp_path / "picture.png").read_bytes()
    expected = load(made.model, 1).run(decode(encoded)[None]).logits[0]
    with serving(tmp_path / "app") as server:
        page = open_app(context.new_page(), server.url)
        assert page.query_selector("[data-code]") is None
        start_engine(page)
        found = np.frombuffer(bytes.fromhex(ask(page, encoded)["logits"]), np.float32)
        page.evaluate("location.hash = '#/evidence'")
        words = page.inner_text("main")
        page.evaluate("location.hash = '#/settings'")
        assert ("equal bit for bit" in page.inner_text("main")) == (kind != "transformer")
    portable = kind == "mixed widths"
    assert f"Same output bits on every device\n{'yes' if portable else 'no; this device gave the known answers'}" in words
    if kind == "transformer":
        assert np.allclose(found, expected, rtol=0, atol=0.1 * float(np.abs(expected).max()))
    else:
        assert found.tobytes() == expected.tobytes()
    assert (agree(made, ["native"]).tolerance is None) == portable
