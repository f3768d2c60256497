"""The model card for people: README.md of a bundle, under the headings of Mitchell et al. 2019 (Model Cards for Model Reporting)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from clinquant.core.card import Card
from clinquant.edge.speed import TABLET, speeds
from clinquant.evidence.claims import Finding
from clinquant.evidence.evidence import Evidence, Pair, TestSet
from clinquant.evidence.summary import before_reading


def model_card(card: Card, evidence: Evidence) -> str:
    """Markdown, from nothing but the card and the evidence."""
    sections = {
        "Model details": _details(card, evidence),
        "Intended use": _use(card),
        "Factors": _factors(evidence),
        "Metrics": _metrics(evidence),
        "Evaluation data": _evaluation(evidence),
        "Training data": _training(card),
        "Quantitative analyses": _analyses(evidence),
        "Ethical considerations": _ethics(),
        "Caveats and recommendations": _caveats(evidence),
    }
    body = "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items())
    return f"# {' / '.join(card.classes)}\n\n> {card.limits}\n\n{evidence.summary}\n\n{body}\n"


def _details(card: Card, evidence: Evidence) -> Iterator[str]:
    integer, float_ = evidence.files["integer"], evidence.files["float"]
    yield f"- Architecture: {card.architecture}, {card.bits}, target {card.target or 'float'}; initial weights: {card.weights}"
    if card.portable is not None:
        answer = "yes" if card.portable else "no; `clinquant verify` tells whether this one will do"
        yield f"- Same output bits on every processor: {answer}"
    yield f"- File: `model.onnx`, {integer.bytes:,} bytes ({integer.bytes / float_.bytes:.2f} of the float file), sha256 `{integer.sha256}`"
    yield from _browser(card, evidence)
    yield f"- Input: `image`, uint8 [n, h, w, 3], RGB, any size; the graph resizes to {card.preprocess.size} pixels and normalises"
    yield f"- Output: `logits`, float32 [n, {len(card.classes)}], in the order: {', '.join(card.classes)}"
    yield f"- Decision: {_decision(card)}"
    yield f"- Made by clinquant {evidence.clinquant}, {evidence.created}"


def _browser(card: Card, evidence: Evidence) -> Iterator[str]:
    found, speed = evidence.browser, speeds().get(card.architecture)
    if speed is not None:
        default = "the tablet's default network" if card.architecture == TABLET else f"the tablet's default network is {TABLET}"
        took = f"took {speed.browser:.2f} of its float file's time in a browser"
        yield f"- On a tablet: {card.architecture} in 8 bits at {speed.size} px {took}; {default}"
    if found is None:
        return
    facts = evidence.files["browser"]
    yield f"- In a browser, in its place: `model.wasm.onnx`, {facts.bytes:,} bytes, sha256 `{facts.sha256}`"
    if found.in_float:
        bound = f"exact below 2^24, and no sum can exceed {found.largest_sum:,}"
        yield f"- Of that file {found.in_float} convolutions compute their integers in float32: {bound}"
    yield f"- Its logits differ from those of `model.onnx` in any bit in {found.differing} of {found.compared} test images"


def _decision(card: Card) -> str:
    if card.threshold is None or card.positive is None:
        rule = "the class of the highest probability"
    else:
        rule = f"{card.classes[card.positive]} at probability {card.threshold:.4f} or more (rule: {card.threshold_rule}, chosen on tune)"
    refer = "" if card.refer_below is None else f"; REFER when the highest probability is under {card.refer_below:.4f}"
    scope = (
        "" if card.scope is None else f"; OUT OF SCOPE, before any class, when farther than {card.scope.limit:.2f} from the training images"
    )
    return rule + refer + scope


def _use(card: Card) -> Iterator[str]:
    yield f"- Research on telling {' from '.join(card.classes)} in images like those it was trained on."
    yield f"- {card.limits}"
    yield "- Not for other body parts, other modalities, other classes, or images that belong to none of the classes."


def _factors(evidence: Evidence) -> Iterator[str]:
    yield f"- Independent unit of the evidence: {evidence.test.unit}."
    looked = sorted({row.covariate for row in evidence.subgroups} - {"class"})
    yield f"- Subgroups compared: {', '.join(['class', *looked])}. Others, such as age, sex or scanner, only where they are named here."
    yield f"- Measured with {evidence.runtime} on {evidence.machine}."


def _metrics(evidence: Evidence) -> Iterator[str]:
    claims = [claim for claim in evidence.claims if claim.role == "primary"]
    yield f"Written down {before_reading(evidence.test.reads)} (sha256 `{evidence.claims_sha256}`):"
    yield ""
    for claim in claims:
        about = f" ({claim.class_name})" if claim.class_name else ""
        yield f"- {claim.metric}{about}: not worse than the float file's by {claim.margin:g} or more, at {claim.confidence:.0%} confidence."


def _evaluation(evidence: Evidence) -> Iterator[str]:
    test = evidence.test
    counts = ", ".join(f"{name} {count}" for name, count in test.images_by_class.items())
    yield f"- {test.name}: {_size(test)}; {counts}."
    yield f"- This very test set has been read {test.reads} time(s) by this user's clinquant."
    for pair in evidence.external:
        yield f"- External: {pair.test.name}: {_size(pair.test)}."


def _size(test: TestSet) -> str:
    return f"{test.images} independent images" if test.unit == "image" else f"{test.images} images of {test.units} units ({test.unit})"


def _training(card: Card) -> Iterator[str]:
    yield f"- Licence of the data: {card.data_licence}."
    yield "- Preprocessing and 16-bit window: in `card.json`; artifacts it was made from, by hash: also there."


def _analyses(evidence: Evidence) -> Iterator[str]:
    yield from _table(evidence.findings)
    yield ""
    yield f"Both files decide alike in {evidence.agreement:.2%} of the test cases; {len(evidence.flips)} differ."
    yield ""
    for name, point in evidence.operating_points.items():
        if point.threshold is not None and point.sensitivity is not None and point.specificity is not None:
            yield (
                f"- {name}: threshold {point.threshold:.4f} ({point.rule}): "
                f"sensitivity {point.sensitivity:.3f}, specificity {point.specificity:.3f}"
            )
    for name, trust in evidence.reliability.items():
        yield f"- {name}: expected calibration error {trust.ece_before:.3f} before the temperature, {trust.ece:.3f} after"
    yield from _single_answers(evidence)
    for name, latency in evidence.latency.items():
        yield f"- {name}: median {latency.median_ms:.2f} ms an image ({latency.minimum_ms:.2f} to {latency.maximum_ms:.2f})"
    for pair in evidence.external:
        yield from _external(pair)


def _single_answers(evidence: Evidence) -> Iterator[str]:
    """How far one answer can be trusted: prediction sets, referral, what is out of scope."""
    for name, figures in evidence.referral.items():
        if figures.below is not None and figures.error_kept is not None:
            errors = f"error {figures.error:.1%} of all, {figures.error_kept:.1%} of the others"
            yield f"- {name}: refers {figures.referred:.1%} of the test cases; {errors}"
    for row in evidence.conformal.get("integer", ()):
        yield (
            f"- prediction sets ({row.rule}) of the integer file: {row.coverage:.1%} hold the true class ({row.wanted:.0%} asked for), "
            f"{row.mean_size:.2f} classes on average"
        )
    if evidence.scope is not None:
        controls = ", ".join(f"{name} {share:.0%}" for name, share in evidence.scope.controls.items())
        yield f"- out of scope by mistake: {evidence.scope.inside:.1%} of the test pictures; of controls: {controls}"


def _external(pair: Pair) -> Iterator[str]:
    yield f"\n**{pair.test.name}: {pair.verdict.value}**\n"
    yield from _table(pair.findings)


def _table(findings: Sequence[Finding]) -> Iterable[str]:
    yield "| metric | class | role | float | integer | difference | interval | margin | n | verdict |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for f in findings:
        interval = f"{_number(f.lower)} to {_number(f.upper)}"
        metric = f"{f.metric} at the float's threshold" if f.threshold == "baseline" else f.metric
        cells = (metric, f.class_name or "all", f.role.value, _number(f.baseline), _number(f.candidate), _number(f.difference), interval)
        yield "| " + " | ".join((*cells, f"{f.margin:g}", str(f.n), f.verdict.value)) + " |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ethics() -> Iterator[str]:
    yield "- The bundle carries no patient's image; its golden pictures are made ones. Its tables carry case names as they came, "
    yield "  and `covariates.csv`, where there is one, what the manifest says of each test case (a number only as its quarter)."
    yield "- A classifier repeats what its data taught it, also what it should not have. Check your own groups before any use."


def _caveats(evidence: Evidence) -> Iterator[str]:
    for sentence in evidence.not_shown:
        yield f"- {sentence}"
    yield "- Non-inferior to its float network does not say that the float network is good enough for you."
    yield "- Before use on your images: `clinquant verify` this folder, then `clinquant evaluate` it on labelled images of your own."
