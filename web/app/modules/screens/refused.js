/** Instead of everything: why this app will not answer. */

import { el, icon } from "../dom.js";
import { has, t } from "../messages.js";

/** @param {string} code @param {Record<string, string | number>} values @returns {HTMLElement} */
export function refusedScreen(code, values) {
  const reason = has(`refused.${code}`) ? t(`refused.${code}`, values) : t("refused.failed", { reason: code });
  return el(
    "section",
    { class: "screen" },
    el("h1", { tabindex: -1 }, t("refused.title")),
    el(
      "div",
      { class: "decision stopped", role: "alert", "data-code": code },
      icon("stop"),
      el("div", {}, el("p", {}, reason), el("p", {}, t("refused.consequence"))),
    ),
    el("p", {}, t("refused.remedy")),
    el("p", { class: "buttons" }, el("button", { onclick: () => location.reload() }, t("refused.again"))),
  );
}
