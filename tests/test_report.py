"""The report: self-contained, safe against hostile names, the verdict first, readable in light and dark, the same bytes every time."""

from __future__ import annotations

import doctest
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from clinquant.core.card import RESEARCH_USE
from clinquant.core.errors import ClinquantError
from clinquant.evidence.claims import Finding, Role, Verdict
from clinquant.report import overlay, thumbnails, wording
from clinquant.report.page import TEMPLATES, render
from clinquant.report.plots import axes
from clinquant.report.plots.forest import forest_scale
from clinquant.report.sections import provenance, recipes
from clinquant.report.sections.flips import outcome, worst_first
from sample_report import picture, sample

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ["verdict", "findings", "not-shown", "performance", "external", "flips", "data", "speed", "recipe", "provenance"]
HOSTILE = "<script>alert(1)</script>\"'&\u202egpj"
NAMES = (
    "ورم دبقي",
    "脑膜瘤",
    HOSTILE,
    "Atelectasis with pleural effusion and consolidation of the lower lobe",
    "Pneumothorax-with-an-unreasonably-long-name-without-any-space-in-it",
    *(f"Class {i}" for i in range(7)),
)


class Page(HTMLParser):
    """Collects elements and text, and insists that every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]


@pytest.fixture(scope="module")
def full() -> tuple[str, Page]:
    html = render(**sample(external=True))
    return html, Page(html)


def test_every_section_is_there_in_order(full: tuple[str, Page]) -> None:
    html, page = full
    places = [html.index(f'id="{name}"') for name in SECTIONS]
    assert places == sorted(places)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.attributes("href")} <= set(ids)


def test_the_notice_stands_beside_the_verdict_and_at_the_end(full: tuple[str, Page]) -> None:
    html, page = full
    assert page.text.count(RESEARCH_USE) == 2
    assert html.index(RESEARCH_USE) < html.index('id="findings"')


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"cases": 3000, "noise": 0.0}, "NON_INFERIOR", "Non-inferior"),
        ({"cases": 600, "damage": 2.0}, "INFERIOR", "Inferior"),
        ({"cases": 60, "noise": 0.1}, "INCONCLUSIVE", "Inconclusive"),
    ],
)
def test_the_verdict_comes_first_in_words_and_with_a_shape(changes: dict[str, float], code: str, words: str) -> None:
    arguments = sample(**changes)  # type: ignore[arg-type]
    html = render(**arguments)
    assert arguments["evidence"].verdict == code
    head = html[html.index('id="verdict"') : html.index('id="findings"')]
    assert f"<span>{words}</span></h2>" in head
    assert f'class="mark {code}"' in head
    assert f"{len(arguments['predictions']['float'])} images" in head


def test_an_inconclusive_verdict_says_how_many_cases_would_decide() -> None:
    arguments = sample(cases=60, noise=0.1)
    needed = [finding.needed for finding in arguments["evidence"].findings if finding.role is Role.PRIMARY and finding.needed]
    html = render(**arguments)
    head = html[html.index('id="verdict"') : html.index('id="findings"')]
    assert needed and all(f"about {wording.whole(number)} images" in head for number in needed)


def test_nothing_leaves_the_page(full: tuple[str, Page]) -> None:
    html, page = full
    assert not {"script", "link", "iframe", "object", "form", "base", "use"} & {tag for tag, _ in page.elements}
    assert page.attributes("src") and all(source.startswith("data:image/") for source in page.attributes("src"))
    assert all(link.startswith("#") for link in page.attributes("href"))
    assert not page.attributes("style") and not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://|url\(|@import", html)


def test_the_policy_allows_this_style_sheet_and_data_images_only(full: tuple[str, Page]) -> None:
    import base64
    import hashlib

    html, _ = full
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert policy and style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_hostile_and_foreign_names_are_text() -> None:
    arguments = sample(NAMES, cases=300, noise=0.3)
    html = render(**arguments)
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text and "\u202e" not in html
    assert "ورم دبقي" in page.text and "脑膜瘤" in page.text


def test_hostile_file_names_are_text() -> None:
    ids = [f'"><img src=x onerror=alert({i})>\u202e.jpeg' for i in range(600)]
    arguments = sample(ids=ids)
    assert arguments["evidence"].flips
    page = Page(render(**arguments))
    assert "onerror" not in [name for _, attributes in page.elements for name in attributes]
    assert all(source.startswith("data:image/") for source in page.attributes("src"))


def test_equal_input_gives_equal_bytes() -> None:
    assert render(**sample()) == render(**sample())


def test_no_flip_no_copy_no_map_no_other_test_set() -> None:
    arguments = sample(noise=0.0, copies=False, maps=False)
    arguments["evidence"] = _without_flips(arguments["evidence"])
    html = render(**arguments)
    page = Page(html)
    assert "No test case was decided differently" in page.text
    assert 'id="external"' not in html and not page.attributes("src")


def test_hundreds_of_flips_are_capped_worst_first_and_the_page_stays_small() -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    arguments = sample(cases=1200, noise=2.5, images=lambda case: noisy)
    flips = arguments["evidence"].flips
    html = render(**arguments)
    assert len(flips) > 200
    assert html.count('<figure class="flip ') == 24 and f"{len(flips) - 24} more stand in evidence.json" in html
    assert len(html.encode()) < 6_000_000
    ordered = worst_first(flips, arguments["predictions"])
    kinds = [outcome(flip) for flip in ordered]
    assert kinds == sorted(kinds, key=["lost", "unknown", "neither", "gained"].index)


def test_multi_class_has_a_panel_a_class_and_no_threshold() -> None:
    arguments = sample(("a", "b", "c", "d", "e"))
    html = render(**arguments)
    assert html.count('<div class="panel">') == 5
    assert "Threshold" not in Page(html).text


def test_predictions_of_other_files_are_refused() -> None:
    arguments = sample()
    arguments["predictions"] = {"float": arguments["predictions"]["float"]}
    with pytest.raises(ClinquantError, match="report-input"):
        render(**arguments)


def test_jinja2_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ClinquantError, match=r"clinquant\[report\]"):
        render(**sample())


def test_a_bound_near_the_margin_never_reads_as_the_margin() -> None:
    finding = Finding(
        metric="auc",
        class_name=None,
        role=Role.PRIMARY,
        baseline=0.9,
        candidate=0.9,
        difference=0.0,
        lower=-0.01998,
        upper=0.01,
        margin=0.02,
        confidence=0.95,
        method="m",
        unit="image",
        n=9,
        verdict=Verdict.NON_INFERIOR,
    )
    assert wording.signed(finding.lower, wording.decimals_for(finding)) == "−0.01998"
    scale = forest_scale([finding])
    assert scale.low < -0.02 < 0.02 < scale.high


def test_the_overlay_is_orange_where_the_map_speaks_for_the_decision() -> None:
    maps = np.zeros((2, 4, 4), np.float32)
    maps[1, :, :2], maps[0, :, 2:] = 5.0, 5.0
    grey = np.full((120, 120, 3), 128, np.uint8)
    tinted = overlay.contrast(grey, maps, for_class=1, against=0).astype(int)
    assert tinted[60, 20, 0] > tinted[60, 20, 2] and tinted[60, 100, 2] > tinted[60, 100, 0]
    assert np.array_equal(overlay.contrast(grey, maps, for_class=1, against=1), grey)


@pytest.mark.parametrize("shape", [(28, 28), (224, 224), (1, 900), (3000, 40)])
def test_thumbnails_keep_the_aspect_and_the_bound(shape: tuple[int, int]) -> None:
    small = thumbnails.shrunk(np.zeros((*shape, 3), np.uint8))
    assert max(small.shape[:2]) <= max(thumbnails.SIDE, 28) and min(small.shape[:2]) >= 1
    assert thumbnails.thumbnail(np.zeros((*shape, 3), np.uint8)).startswith("data:image/")
    overlay.contrast(np.zeros((*shape, 3), np.uint8), np.ones((2, 3, 3), np.float32), 0, 1)


def test_thinning_keeps_the_ends_and_the_shape() -> None:
    x = np.linspace(0, 1, 5000)
    curve = np.column_stack([x, np.sin(7 * x)])
    thin = axes.thinned(curve)
    assert len(thin) <= 400 and (thin[0] == curve[0]).all() and (thin[-1] == curve[-1]).all()
    assert np.abs(np.interp(x, thin[:, 0], thin[:, 1]) - curve[:, 1]).max() < 1e-3
    assert len(axes.thinned(np.column_stack([x, 2 * x]))) == 2


@pytest.mark.parametrize("dark", [False, True])
def test_colours_keep_wcag_aa(dark: bool) -> None:
    light, night = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(encoding="utf-8"), re.S)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light) + (re.findall(r"--([\w-]+): (#[0-9a-f]{6})", night) if dark else []))
    texts = [(name, "paper") for name in ("ink", "quiet", "good", "bad", "open")]
    texts += [(name, f"{ground}-ground") for ground in ("good", "bad", "open") for name in ("ink", "quiet", ground)]
    assert {pair: ratio for pair in texts if (ratio := _contrast(*(colour[name] for name in pair))) < 4.5} == {}
    lines = [("float", "paper"), ("integer", "paper"), ("bad", "zone"), ("ink", "zone")]
    assert {pair: ratio for pair in lines if (ratio := _contrast(*(colour[name] for name in pair))) < 3} == {}
    cell = [int(part) for part in re.findall(r"--cell: (\d+), (\d+), (\d+)", night if dark else light)[0]]
    deepest = [0.33 * a + 0.67 * b for a, b in zip(cell, _channels(colour["paper"]), strict=True)]
    assert _contrast(colour["cell-ink"], "#" + "".join(f"{round(c):02x}" for c in deepest)) >= 4.5


@pytest.mark.parametrize("module", [wording, axes, provenance, recipes])
def test_examples_in_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_pictures_are_asked_only_for_cases_shown() -> None:
    asked: list[str] = []

    def images(case: str) -> np.ndarray:
        asked.append(case)
        return picture(case)

    arguments = sample(images=images)
    render(**arguments)
    assert len(asked) < 100


def test_what_runs_in_integers_is_told(full: tuple[str, Page]) -> None:
    _, page = full
    assert "99.87% of the multiply-accumulates (384 million a picture) run in 8-bit integers. Not counted: Attention." in page.text
    assert "Weights and constants in memory, once loaded: integer × 0.253" in page.text and "QLinearConv 50" in page.text


def test_evidence_without_an_audit_has_no_table_of_types() -> None:
    arguments = sample()
    html = render(**arguments | {"evidence": replace(arguments["evidence"], audits={})})
    assert "What runs in integers" not in html


def _without_flips(evidence):  # type: ignore[no-untyped-def]
    return replace(evidence, flips=(), agreement=1.0)


def _contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_the_bits_of_every_layer_are_shown() -> None:
    page = render(**sample())
    assert "The bits of every layer" in page and "layer3.2.conv2" in page and "w2a2" in page
