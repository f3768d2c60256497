/** The results kept on this device, with their export and their deletion. */

import { el, icon } from "../dom.js";
import { download, toCsv, toJson } from "../exported.js";
import { all, clear, lost, remember, remove } from "../history.js";
import { moment, t } from "../messages.js";
import { picture } from "./picture.js";
import { decisionMark, shareOf } from "./result.js";

/** @param {Context} context @returns {HTMLElement} */
export function historyScreen(context) {
  const screen = el("section", { class: "screen" }, el("h1", { tabindex: -1 }, t("history.title")));
  const body = el("div", { class: "stack" });
  screen.append(body);
  const show = async () => {
    const [results, missing] = await Promise.all([all(), lost()]);
    body.replaceChildren(
      ...(missing ? [evicted(missing, show)] : []),
      storageNote(context),
      ...(results.length ? filled(results, show) : [el("p", { class: "lead" }, t("history.empty"))]),
    );
  };
  show().catch((error) => body.replaceChildren(el("p", { class: "note" }, t("history.unavailable", { reason: String(error) }))));
  return screen;
}

/** @param {number} missing @param {() => Promise<void>} show */
function evicted(missing, show) {
  const seen = () => void remember().then(show);
  return el(
    "div",
    { class: "decision refer", role: "alert" },
    icon("refer"),
    el(
      "div",
      {},
      el("p", {}, t("history.evicted", { count: missing })),
      el("p", { class: "buttons" }, el("button", { onclick: seen }, icon("check"), t("history.understood"))),
    ),
  );
}

/** @param {Context} context */
function storageNote(context) {
  return el("p", { class: "quiet" }, t(context.persisted() ? "history.persisted" : "history.may-go"), " ", t("history.no-names"));
}

/** @param {Kept[]} results @param {() => Promise<void>} show */
function filled(results, show) {
  const classes = [...new Set(results.flatMap((kept) => kept.classes))];
  const day = new Date().toISOString().slice(0, 10);
  return [
    el(
      "div",
      { class: "buttons" },
      el(
        "button",
        { onclick: () => download(`clinquant-${day}.csv`, toCsv(results, classes), "text/csv") },
        icon("save"),
        t("history.csv"),
      ),
      el(
        "button",
        { onclick: () => download(`clinquant-${day}.json`, toJson(results), "application/json") },
        icon("save"),
        t("history.json"),
      ),
      deleteAll(results.length, show),
    ),
    el("ul", { class: "cards" }, ...results.map((kept) => entry(kept, show))),
  ];
}

/** @param {Kept} kept @param {() => Promise<void>} show */
function entry(kept, show) {
  const id = /** @type {number} */ (kept.id);
  return el(
    "li",
    { class: "entry" },
    el(
      "a",
      { class: "card", href: `#/kept/${id}` },
      picture(kept.thumbnail),
      el(
        "span",
        { class: "card-words" },
        decisionMark(kept.answer),
        el("span", { class: "quiet" }, `${shareOf(kept.answer)}${moment(kept.at)}`),
      ),
    ),
    el(
      "button",
      { class: "plain", "aria-label": t("history.delete-one", { at: moment(kept.at) }), onclick: () => void remove(id).then(show) },
      icon("trash"),
    ),
  );
}

/** Deleting all takes two steps, in a dialog that closes without harm. @param {number} count @param {() => Promise<void>} show */
function deleteAll(count, show) {
  const dialog = el("dialog", { "aria-labelledby": "delete-all" });
  const act = () => void clear().then(show);
  dialog.append(
    el("h2", { id: "delete-all" }, t("history.delete-question", { count })),
    el("p", {}, t("history.delete-final")),
    el(
      "p",
      { class: "buttons" },
      el("button", { onclick: () => dialog.close(), autofocus: true }, t("history.cancel")),
      el("button", { class: "danger", onclick: act }, icon("trash"), t("history.delete")),
    ),
  );
  return el("span", {}, el("button", { onclick: () => dialog.showModal() }, icon("trash"), t("history.delete-all")), dialog);
}
