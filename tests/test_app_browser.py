"""The tablet app in a real headless Chromium: it answers as the workstation does, offline, and refuses what was changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app_bundle import write_integer_bundle
from chromium import Server, ask, open_app, serving, start_engine
from clinquant.core.errors import ClinquantError
from clinquant.data.decode import decode
from clinquant.edge.answer import answer_one
from clinquant.edge.app.write import write_app
from clinquant.edge.bundle import Bundle
from clinquant.edge.runtimes.onnxruntime import load
from test_app_access import violations
from test_scope import fitted, smooth
from tiny_bundle import write_pictures


@pytest.fixture(scope="module")
def server(tablet_app: Path) -> Iterator[Server]:
    with serving(tablet_app) as server:
        yield server


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def engine(browser: Any, server: Server) -> Iterator[Any]:
    """A page whose engine answers `ask`."""
    context = browser.new_context()
    page = open_app(context.new_page(), server.url)
    start_engine(page)
    yield page
    context.close()


def native(bundle: Bundle, encoded: bytes) -> dict[str, str | None]:
    """As `ask`, on the workstation; or the refusal's code."""
    try:
        pixels = decode(encoded)
    except ClinquantError as error:
        return {"code": error.code}
    answer = load(bundle.model, 1).run(pixels[None])
    return {"logits": answer.logits.tobytes().hex(), "classMap": None if answer.class_map is None else answer.class_map.tobytes().hex()}


def same(bundle: Bundle, engine: Any, encoded: bytes) -> bool:
    found, expected = ask(engine, encoded), native(bundle, encoded)
    return "code" not in expected and all(found.get(key) == value for key, value in expected.items())


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def colourful(width: int = 61, height: int = 47, seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_a_picture_becomes_a_result(page: Any, server: Server, tmp_path: Path) -> None:
    picture = next(write_pictures(tmp_path / "pictures", each=1).rglob("*.png"))
    open_app(page, server.url).set_input_files("input[type=file][multiple]", picture)
    page.wait_for_selector(".decision")
    words = page.inner_text("main")
    assert ("dark" in words or "bright" in words) and "%" in words and "20 patients" in words
    assert "Not for diagnosis" in page.inner_text("footer")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(page: Any, server: Server, kind: str) -> None:
    open_app(page, server.url)
    script = """([text, kind]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], "a.png", { type: "image/png" }));
      const options = { bubbles: true, cancelable: true };
      const dropped = new DragEvent("drop", { ...options, dataTransfer: data });
      const pasted = new ClipboardEvent("paste", { ...options, clipboardData: data });
      const event = kind === "drop" ? dropped : pasted;
      document.querySelector("main").dispatchEvent(event);
    }"""
    page.evaluate(script, [base64.b64encode(encoded(Image.fromarray(colourful()), "PNG")).decode(), kind])
    page.wait_for_selector(".decision")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_kind_of_picture_gives_the_workstations_bits(integer_bundle: Bundle, engine: Any, kind: str) -> None:
    picture = Image.fromarray(colourful())
    assert same(integer_bundle, engine, encoded(picture, kind))
    assert same(integer_bundle, engine, encoded(picture.convert("L"), kind))


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA"])
def test_palettes_and_transparency_give_the_workstations_bits(integer_bundle: Bundle, engine: Any, mode: str) -> None:
    picture = Image.fromarray(colourful(channels=4)).convert(mode)
    assert same(integer_bundle, engine, encoded(picture, "PNG"))


def test_transparent_webp_and_a_colour_named_transparent(integer_bundle: Bundle, engine: Any) -> None:
    assert same(integer_bundle, engine, encoded(Image.fromarray(colourful(channels=4)), "WEBP", lossless=True, exact=True))
    assert same(integer_bundle, engine, encoded(Image.fromarray(colourful()).convert("P"), "PNG", transparency=3))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_turns_as_on_the_workstation(integer_bundle: Bundle, engine: Any, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert same(integer_bundle, engine, encoded(Image.fromarray(colourful()), kind, exif=exif))


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_turns_where_exif_says_nothing(integer_bundle: Bundle, engine: Any, orientation: int, kind: str) -> None:
    packet = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", packet)
    options = {"pnginfo": text} if kind == "PNG" else {"xmp": packet.encode()}
    assert same(integer_bundle, engine, encoded(Image.fromarray(colourful()), kind, **options))
    exif = Image.Exif()
    exif[0x0112] = 8
    assert same(integer_bundle, engine, encoded(Image.fromarray(colourful()), kind, exif=exif, **options))


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 20}, {"restart_marker_rows": 1}]
)
def test_every_way_of_writing_jpeg(integer_bundle: Bundle, engine: Any, options: dict[str, Any]) -> None:
    smooth_colours = Image.fromarray(colourful(9, 7)).resize((333, 251), Image.Resampling.BICUBIC)
    for picture in (smooth_colours, smooth_colours.convert("L")):
        assert same(integer_bundle, engine, encoded(picture, "JPEG", **options))


def test_colour_profiles_and_gamma_are_ignored(integer_bundle: Bundle, engine: Any) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    picture = Image.fromarray(colourful())
    assert same(integer_bundle, engine, encoded(picture, "JPEG", icc_profile=profile))
    assert same(integer_bundle, engine, encoded(picture, "PNG", icc_profile=profile))
    gamma = PngInfo()
    gamma.add(b"gAMA", (100000).to_bytes(4, "big"))
    assert same(integer_bundle, engine, encoded(picture, "PNG", pnginfo=gamma))


def test_what_the_browser_would_read_otherwise_is_refused(engine: Any) -> None:
    grey = Image.fromarray(np.arange(0, 60000, 10, dtype=np.uint16).reshape(60, 100))
    picture = Image.fromarray(colourful())
    jpeg = encoded(picture, "JPEG")
    png = encoded(picture, "PNG")
    webp = encoded(picture, "WEBP")
    expected = {
        "sixteen-bit": encoded(grey, "PNG"),
        "colours": encoded(picture.convert("CMYK"), "JPEG"),
        "format": encoded(picture, "BMP"),
        "animated": encoded(picture, "WEBP", save_all=True, append_images=[Image.fromarray(colourful(seed=1))]),
    }
    assert {code: ask(engine, data).get("code") for code, data in expected.items()} == {code: code for code in expected}
    for data in (jpeg, png, webp):
        for cut in (len(data) // 3, len(data) // 2, len(data) - 3):
            assert ask(engine, data[:cut]).get("code") in ("broken", "format"), cut
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    assert ask(engine, bytes(flipped)).get("code") == "broken"
    assert ask(engine, b"").get("code") == "format"


@pytest.mark.parametrize(("bits", "architecture"), [("w4a8", "resnet20"), ("w2a2", "resnet20"), ("w8a8", "mobilenet_v2")])
def test_packed_weights_and_float_kernels_answer_the_same_bits(browser: Any, tmp_path: Path, bits: str, architecture: str) -> None:
    packed = write_integer_bundle(tmp_path / bits, bits=bits, architecture=architecture)
    assert write_app(packed.path, tmp_path / "app").model == "bundle/model.wasm.onnx"
    with serving(tmp_path / "app") as server:
        page = open_app(browser.new_context().new_page(), server.url)
        assert page.query_selector("[data-code]") is None
        start_engine(page)
        assert same(packed, page, encoded(Image.fromarray(colourful()), "PNG"))
        page.context.close()
        model = tmp_path / "app" / "bundle" / "model.wasm.onnx"
        changed = bytearray(model.read_bytes())
        changed[len(changed) // 2] ^= 1
        model.write_bytes(changed)
        page = open_app(browser.new_context(service_workers="block").new_page(), server.url)
        assert page.get_attribute("[data-code]", "data-code") == "changed" and model.name in page.inner_text("main")
        page.context.close()


def test_what_is_out_of_scope_is_told_by_the_same_distance(browser: Any, tmp_path: Path) -> None:
    scoped = write_integer_bundle(tmp_path / "bundle", scope=fitted())
    write_app(scoped.path, tmp_path / "app")
    random = np.random.default_rng(5)
    likely = encoded(Image.fromarray(smooth(random)), "PNG")
    unlikely = encoded(Image.fromarray(colourful()), "PNG")
    session = load(scoped.model, 1)
    with serving(tmp_path / "app") as server:
        page = open_app(browser.new_context().new_page(), server.url)
        start_engine(page)
        for data, outside in ((likely, False), (unlikely, True)):
            expected = answer_one(data, session, scoped.card, name="picture")
            assert expected.out_of_scope == outside and ask(page, data)["distance"] == expected.distance
            (tmp_path / "picture.png").write_bytes(data)
            page.evaluate("location.hash = '#/picture'")
            page.set_input_files("input[type=file][multiple]", tmp_path / "picture.png")
            page.wait_for_selector(".decision")
            assert ("OUT OF SCOPE" in page.inner_text(".decision")) == outside
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                assert violations(page) == [], theme
            assert (page.query_selector(".statement") is None) == outside, "what was tested says nothing of such a picture"
            assert (page.query_selector(".bars") is None) == (page.query_selector(".frame canvas") is None) == outside
        page.context.close()


LAC = {"rule": "lac", "coverage": 0.9, "at_least": [0.2, 0.2, 0.2], "cases": 50}
CLASSWISE = {"rule": "classwise", "coverage": 0.9, "at_least": [0.9, 0.9, 0.9], "cases": 50}
CARDS: list[tuple[dict[str, Any], list[float], dict[str, Any]]] = [
    ({}, [2.0, 1.0, 0.0], {"index": 0, "refer": False, "set": []}),
    ({"refer_below": 0.7}, [2.0, 1.0, 0.0], {"index": 0, "refer": True, "set": []}),
    (
        {"sets": LAC},
        [1.0, 2.0, 0.0],
        {"index": 1, "set": ["b", "a"]},
    ),
    ({"sets": CLASSWISE}, [1.0, 2.0, 0.0], {"set": ["b"]}),
    ({"classes": ["a", "b"], "positive": 1, "threshold": 0.2}, [1.0, 0.0], {"index": 1}),
    ({"classes": ["a", "b"], "positive": 0, "threshold": 0.9}, [1.0, 0.0], {"index": 1}),
]
"""What a card says beside the ordinary -> logits -> what must come of it."""


@pytest.mark.parametrize(("card", "logits", "expected"), CARDS)
def test_the_app_decides_by_the_card(engine: Any, card: dict[str, Any], logits: list[float], expected: dict[str, Any]) -> None:
    ordinary = {"classes": ["a", "b", "c"], "positive": None, "threshold": None, "refer_below": None, "scope": None, "sets": None}
    script = """async ([logits, card]) => {
      const { decide } = await import(new URL("modules/decide.js", location.href).href);
      return decide(logits, card, null);
    }"""
    found = engine.evaluate(script, [logits, ordinary | card])
    assert {key: found[key] for key in expected} == expected
    assert found["probabilities"] == pytest.approx((np.exp(logits) / np.exp(logits).sum()).tolist(), rel=1e-12)
