/** One result: what the model says, how sure it is, where it looked, and what it was proven to do. */

import { el, icon } from "../dom.js";
import { heat } from "../heat.js";
import { find } from "../history.js";
import { language, moment, number, percent, t } from "../messages.js";
import { shortStatement } from "./evidence.js";

/** @param {Context} context @param {string} key of the worklist @returns {HTMLElement} */
export function resultScreen(context, key) {
  const item = context.worklist.items[Number(key)];
  if (!item) return notFound();
  const screen = el("section", { class: "screen" });
  const show = () => {
    if (item.state === "done" && item.kept) screen.replaceChildren(...result(context, item.kept, item.file, { notKept: item.notKept }));
    else if (item.state === "refused") screen.replaceChildren(title(t("result.refused")), refusedPicture(item));
    else screen.replaceChildren(title(t("result.busy")), el("p", { class: "lead busy", role: "status" }, t("result.computing")));
    if (item.state === "done" || item.state === "refused") {
      context.worklist.removeEventListener("change", show);
      if (document.activeElement === document.body) screen.querySelector("h1")?.focus();
    }
  };
  context.worklist.addEventListener("change", show);
  show();
  return screen;
}

/** @param {Context} context @param {string} id in the history @returns {HTMLElement} */
export function keptScreen(context, id) {
  const screen = el("section", { class: "screen" }, title(t("result.title")));
  void find(Number(id)).then(
    (kept) => screen.replaceChildren(...(kept ? result(context, kept, kept.thumbnail, { old: true }) : [...notFound().childNodes])),
    (error) => screen.append(el("p", { class: "note" }, t("history.unavailable", { reason: String(error) }))),
  );
  return screen;
}

/** A probability in words, where one means anything. @param {Answer} answer */
export function shareOf(answer) {
  return answer.outOfScope ? "" : `${percent(answer.probability)} · `;
}

/** The class in words, or REFER: with a sign and a word, never by colour alone. @param {Answer} answer */
export function decisionMark(answer) {
  if (answer.outOfScope) return el("span", { class: "mark refer" }, icon("stop"), el("strong", {}, t("decision.outside")));
  return answer.refer
    ? el("span", { class: "mark refer" }, icon("refer"), el("strong", {}, t("decision.refer")))
    : el("span", { class: "mark" }, icon("check"), el("strong", {}, el("bdi", {}, answer.className)));
}

/** @param {Context} context @param {Kept} kept @param {Blob} picture @param {{old?: boolean, notKept?: string}} how */
function result(context, kept, picture, { old = false, notKept }) {
  return [
    title(t("result.title")),
    el(
      "div",
      { class: "result" },
      decision(kept.answer, context.opened.card),
      view(kept, picture),
      el(
        "div",
        { class: "said" },
        kept.answer.outOfScope ? null : bars(kept, context.opened.card),
        kept.answer.set.length ? possible(kept.answer, context.opened.card) : null,
        el("p", { class: "quiet" }, t("result.when", { at: moment(kept.at), milliseconds: Math.round(kept.milliseconds) })),
        notKept ? el("p", { class: "note" }, t("result.not-kept", { reason: notKept })) : null,
        old && kept.bundle_version !== context.opened.manifest.bundle_version
          ? el("p", { class: "note" }, t("result.other-bundle", { version: kept.bundle_version }))
          : null,
        kept.answer.outOfScope ? el("p", {}, el("a", { href: "#/evidence" }, t("evidence.more"))) : shortStatement(context.opened),
        el(
          "p",
          { class: "buttons" },
          el(
            "a",
            { class: "button", href: old ? "#/history" : "#/picture" },
            icon(old ? "back" : "picture"),
            t(old ? "result.to-history" : "result.next"),
          ),
        ),
      ),
    ),
  ];
}

/** The prediction set. @param {Answer} answer @param {Card} card */
function possible(answer, card) {
  const names = new Intl.ListFormat(language(), { type: "unit" }).format(answer.set);
  const coverage = percent(card.sets?.coverage ?? 0);
  return el(
    "div",
    {},
    el("h2", {}, t("set.title")),
    el("p", {}, el("strong", {}, el("bdi", {}, names))),
    el("p", { class: "quiet" }, t("set.words", { coverage })),
  );
}

/** @param {Answer} answer @param {Card} card */
function decision(answer, card) {
  if (answer.outOfScope) {
    const words = el("div", {}, el("p", { class: "decision-name" }, t("decision.outside")), el("p", {}, t("decision.outside-why")));
    return el("div", { class: "decision stopped", role: "status" }, icon("stop"), words);
  }
  const share = percent(answer.probability);
  const words = el(
    "div",
    {},
    el("p", { class: "decision-name" }, answer.refer ? t("decision.refer") : el("bdi", {}, answer.className)),
    el(
      "p",
      {},
      answer.refer
        ? t("decision.refer-why", { class: answer.className, probability: share, below: percent(card.refer_below ?? 0) })
        : t("decision.why", { probability: share }),
    ),
  );
  return el(
    "div",
    { class: `decision ${answer.refer ? "refer" : "answered"}`, role: "status" },
    icon(answer.refer ? "refer" : "check"),
    words,
  );
}

/** @param {Kept} kept @param {Card} card */
function bars({ answer, classes }, card) {
  const order = classes.map((_, index) => index);
  if (order.length > 2) order.sort((a, b) => answer.probabilities[b] - answer.probabilities[a]);
  const rows = order.map((index) => {
    const [name, share] = [classes[index], answer.probabilities[index]];
    const fill = el("span", { class: "fill" });
    fill.style.inlineSize = `${100 * share}%`;
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, fill);
    if (index === card.positive && card.threshold !== null) {
      const line = el("span", { class: "threshold" });
      line.style.insetInlineStart = `${100 * card.threshold}%`;
      bar.append(line);
    }
    return el(
      "li",
      { class: index === answer.index ? "chosen" : "" },
      el("span", { class: "bar-name" }, el("bdi", {}, name)),
      el("span", { class: "bar-share" }, percent(share)),
      bar,
    );
  });
  const rule =
    card.positive !== null && card.threshold !== null
      ? t("result.threshold", { class: card.classes[card.positive], threshold: percent(card.threshold) })
      : null;
  return el(
    "div",
    {},
    el("h2", {}, t("result.probabilities")),
    el("ul", { class: "bars" }, ...rows),
    rule ? el("p", { class: "quiet" }, rule) : null,
  );
}

/** @param {Kept} kept @param {Blob} picture */
function view(kept, picture) {
  const url = URL.createObjectURL(picture);
  const image = el("img", { src: url, alt: t("result.picture") });
  const frame = el("div", { class: "frame" }, image);
  const holder = el("div", { class: "view" }, frame);
  image.addEventListener("load", () => {
    URL.revokeObjectURL(url);
    if (kept.classMap && !kept.answer.outOfScope) holder.append(...overlay(kept, frame, image.naturalWidth / image.naturalHeight));
  });
  if (!kept.classMap) holder.append(el("p", { class: "quiet" }, t("heat.none")));
  return holder;
}

/** @param {Kept} kept @param {HTMLElement} frame @param {number} aspect */
function overlay(kept, frame, aspect) {
  const { probabilities, index } = kept.answer;
  const other = probabilities
    .map((_, i) => i)
    .filter((i) => i !== index)
    .reduce((best, i) => (probabilities[i] > probabilities[best] ? i : best));
  const canvas = heat(/** @type {number[]} */ (kept.classMap), kept.mapShape, index, other, aspect);
  canvas.setAttribute("aria-hidden", "true");
  frame.append(canvas);
  const slider = el("input", { type: "range", min: 0, max: 100, value: 50, id: "opacity" });
  const shown = el("output", { for: "opacity" });
  const set = () => {
    canvas.style.opacity = String(Number(slider.value) / 100);
    shown.textContent = `${number(Number(slider.value))} %`;
  };
  slider.addEventListener("input", set);
  set();
  return [
    el("div", { class: "slider" }, el("label", { for: "opacity" }, t("heat.opacity")), slider, shown),
    el(
      "ul",
      { class: "legend" },
      el("li", {}, el("span", { class: "swatch for", "aria-hidden": "true" }), t("heat.for", { class: kept.classes[index] })),
      el("li", {}, el("span", { class: "swatch against", "aria-hidden": "true" }), t("heat.against", { class: kept.classes[other] })),
    ),
    el("p", { class: "quiet" }, t("heat.caution")),
  ];
}

/** @param {WorkItem} item */
function refusedPicture(item) {
  return el(
    "div",
    { class: "stack" },
    el("div", { class: "decision stopped", role: "alert" }, icon("stop"), el("p", {}, t(`refused.${item.code}`, item.values))),
    el("p", { class: "buttons" }, el("a", { class: "button", href: "#/picture" }, icon("picture"), t("result.next"))),
  );
}

function notFound() {
  return el(
    "section",
    { class: "screen" },
    title(t("result.none")),
    el("p", {}, el("a", { class: "button", href: "#/picture" }, icon("picture"), t("result.next"))),
  );
}

/** @param {string} words */
function title(words) {
  return el("h1", { tabindex: -1 }, words);
}
