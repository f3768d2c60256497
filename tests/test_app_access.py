"""The tablet app is for everyone: axe finds nothing, every target is large enough, nothing overflows, the keyboard does all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app_bundle import write_integer_bundle
from chromium import chromium, open_app, serving
from clinquant.edge.app.write import write_app
from tiny_bundle import write_pictures

AXE = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = ["picture", "live", "history", "evidence", "settings", "result/0", "result/1", "kept/1"]
LANGUAGES = sorted(path.stem for path in (Path(__file__).parents[1] / "web" / "app" / "messages").glob("*.json"))

OVERFLOWING = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const found = [...document.querySelectorAll("main *, header *, nav *, footer *")].filter((element) => {
    if (element.closest(".scroll")) return false;
    const { left, right } = element.getBoundingClientRect();
    return left < -1 || right > innerWidth + 1;
  });
  return [wide, ...found.map((element) => element.outerHTML.slice(0, 80))];
}"""

SMALL = """() => [...document.querySelectorAll("a, button, input, select, [tabindex='0']")]
  .filter((element) => element.checkVisibility() && !element.classList.contains("skip"))
  .map((element) => element.closest("label") ?? element)
  .filter((element) => { const { width, height } = element.getBoundingClientRect(); return width < 44 || height < 44; })
  .map((element) => element.outerHTML.slice(0, 100))"""

FOCUSED = "document.activeElement === document.body ? '' : document.activeElement.innerText || document.activeElement.id"


@dataclasses.dataclass
class Running:
    page: Any
    url: str
    picture: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A page that has answered one picture and refused another."""
    with chromium() as browser:
        write_app(write_integer_bundle(tmp_path_factory.mktemp("bundle")).path, out := tmp_path_factory.mktemp("app") / "out")
        picture = next(write_pictures(tmp_path_factory.mktemp("pictures") / "p", each=1).rglob("*.png"))
        broken = picture.with_name("broken.png")
        broken.write_bytes(picture.read_bytes()[:90])
        with serving(out) as server:
            page = open_app(browser.new_context().new_page(), server.url)
            page.set_input_files("input[type=file][multiple]", [picture, broken])
            page.wait_for_selector(".card.refused")
            yield Running(page, server.url, picture)


def show(page: Any, screen: str) -> None:
    page.evaluate("(hash) => { location.hash = hash; dispatchEvent(new Event('hashchange')) }", f"#/{screen}")
    page.wait_for_selector(".frame canvas, .entry, .drop, .live, table, #language, .stopped")


def speak(page: Any, language: str) -> None:
    show(page, "settings")
    page.select_option("#language", language)
    page.wait_for_selector(f"html[lang={language}]", state="attached")


def violations(page: Any) -> list[str]:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: python web/assemble.py --dev")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("(rules) => axe.run(document, { runOnly: rules })", RULES)
    return [f"{found['id']}: {node['html'][:120]} {node['failureSummary']}" for found in result["violations"] for node in found["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_screen(running: Running, theme: str) -> None:
    page = running.page
    show(page, "settings")
    page.check(f"input[value={theme}]")
    for screen in SCREENS:
        show(page, screen)
        assert violations(page) == [], screen


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_where_the_app_refuses(running: Running, theme: str) -> None:
    page = running.page.context.browser.new_context(color_scheme=theme).new_page()
    page.route("**/bundle/card.json", lambda route: route.fulfill(body="{}"))
    open_app(page, running.url)
    assert page.get_attribute("[data-code]", "data-code") == "changed" and violations(page) == []
    page.context.close()


def test_axe_finds_nothing_while_files_are_checked(running: Running) -> None:
    page = running.page.context.browser.new_context().new_page()
    page.route("**/bundle/card.json", lambda route: None)
    page.goto(running.url)
    page.wait_for_selector("progress")
    assert violations(page) == []
    page.context.close()


def test_axe_finds_nothing_in_the_dialog(running: Running) -> None:
    page = running.page
    show(page, "history")
    page.locator(".buttons button").nth(2).click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert page.query_selector("dialog[open]") is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_overflows_at_any_width_nor_at_double_text(running: Running, language: str) -> None:
    page = running.page
    speak(page, language)
    assert page.get_attribute("html", "dir") == ("rtl" if language == "ar" else "ltr")
    for width, size in ((320, "100%"), (320, "200%"), (768, "200%"), (1280, "200%")):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("(size) => { document.documentElement.style.fontSize = size }", size)
        for screen in SCREENS:
            show(page, screen)
            assert page.evaluate(OVERFLOWING) == [0], (screen, width, size)
    page.evaluate("document.documentElement.style.fontSize = ''")
    speak(page, "en")


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_every_target_is_44_pixels(running: Running, width: int) -> None:
    running.page.set_viewport_size({"width": width, "height": 800})
    for screen in SCREENS:
        show(running.page, screen)
        assert running.page.evaluate(SMALL) == [], screen


def tab_to(page: Any, words: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if words in page.evaluate(FOCUSED):
            return
    raise AssertionError(f"{words!r} was not reached by Tab")


def test_the_keyboard_does_all(running: Running) -> None:
    page, choosers = running.page.context.new_page(), list[Any]()
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    open_app(page, running.url)
    tab_to(page, "Choose pictures")
    page.keyboard.press("Enter")
    for _ in range(300):
        if choosers:
            break
        page.wait_for_timeout(100)
    choosers[0].set_files(running.picture)
    page.wait_for_selector(".frame canvas")
    tab_to(page, "opacity")
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('.frame canvas').style.opacity") == "1"
    tab_to(page, "All of the evidence")
    page.keyboard.press("Enter")
    page.wait_for_selector("table")
    tab_to(page, "Skip to content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    show(page, "history")
    page.wait_for_selector(".entry")
    tab_to(page, "Delete all")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.query_selector("dialog[open]") is None and page.locator(".entry").count() >= 1
    page.close()
