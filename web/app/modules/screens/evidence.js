/** What the model was proven to do: on what, on how many patients, with which verdict. Every number is the bundle's. */

import { MODELS } from "../bundle.js";
import { el, icon } from "../dom.js";
import { has, moment, number, percent, t } from "../messages.js";

/** @param {Context} context @returns {HTMLElement} */
export function evidenceScreen({ opened }) {
  const { evidence, card, manifest, app } = opened;
  return el(
    "section",
    { class: "screen" },
    el("h1", { tabindex: -1 }, t("evidence.title")),
    shortStatement(opened, false),
    el("h2", {}, t("evidence.findings")),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("evidence.findings") }, findings(evidence.findings)),
    ...evidence.external.flatMap(({ test, verdict, findings: found }) => [
      el("h2", {}, t("evidence.external", { name: test.name })),
      el("p", {}, tested(test), " ", verdictWords(verdict)),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": test.name }, findings(found)),
    ]),
    el("h2", {}, t("evidence.not-shown")),
    el("ul", { lang: "en", dir: "ltr" }, ...evidence.not_shown.map((sentence) => el("li", {}, sentence))),
    el("h2", {}, t("evidence.file")),
    facts([
      [t("evidence.model"), `${card.architecture}, ${evidence.model.bits ?? card.bits}`],
      [t("evidence.same-bits"), t(card.portable === false ? "evidence.same-bits-no" : "evidence.same-bits-yes")],
      [t("evidence.classes"), card.classes.join(" / ")],
      [t("evidence.bundle"), `${number(manifest.bundle_version)}, ${moment(manifest.created)}`],
      [t("evidence.measured-with"), evidence.runtime],
      [t("evidence.shown-with"), app.runtime],
      ...MODELS.filter((name) => name in manifest.files).map(
        (name) => /** @type {[string, string]} */ ([`${name} SHA-256`, manifest.files[name].sha256]),
      ),
      [t("evidence.manifest"), app.manifest_sha256],
    ]),
    el("p", { class: "note", lang: "en", dir: "ltr" }, card.limits),
  );
}

/** The few sentences that stand beside every result. @param {Opened} opened @param {boolean} [linked] */
export function shortStatement({ evidence }, linked = true) {
  const worst = weakest(evidence);
  return el(
    "div",
    { class: `statement ${evidence.verdict.toLowerCase()}` },
    linked ? el("h2", {}, t("evidence.title")) : null,
    el(
      "p",
      { class: "verdict" },
      icon(evidence.verdict === "NON_INFERIOR" ? "check" : evidence.verdict === "INFERIOR" ? "stop" : "info"),
      el("strong", {}, verdictWords(evidence.verdict)),
    ),
    el("p", {}, tested(evidence.test)),
    worst ? el("p", {}, t("evidence.worst", worst)) : null,
    linked ? el("p", {}, el("a", { href: "#/evidence" }, t("evidence.more"))) : null,
  );
}

/** @param {string} verdict */
function verdictWords(verdict) {
  return t(has(`verdict.${verdict}`) ? `verdict.${verdict}` : "verdict.INCONCLUSIVE");
}

/** @param {TestSet} test */
function tested(test) {
  const values = { name: test.name, images: test.images, units: test.units };
  return t(test.unit === "patient" ? "evidence.patients" : test.unit === "image" ? "evidence.images" : "evidence.groups", values);
}

/** The class recognised least often, from the integer file's table of errors. @param {Evidence} evidence */
export function weakest({ confusion, classes }) {
  const rows = (confusion.integer ?? []).map((row, index) => ({
    index,
    right: row[index],
    total: row.reduce((sum, count) => sum + count, 0),
  }));
  const seen = rows.filter(({ total }) => total > 0);
  if (!seen.length) return null;
  const worst = seen.reduce((least, row) => (row.right / row.total < least.right / least.total ? row : least));
  return { class: classes[worst.index], right: worst.right, total: worst.total, share: percent(worst.right / worst.total) };
}

/** @param {Finding[]} rows */
function findings(rows) {
  const head = ["metric", "class", "float", "integer", "difference", "interval", "margin", "n", "verdict"];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, t(`finding.${name}`))))),
    el("tbody", {}, ...rows.map(findingRow)),
  );
}

/** @param {Finding} row */
function findingRow(row) {
  const figure = (/** @type {number | null} */ value) => (value === null ? "–" : number(value, 4));
  const metric = has(`metric.${row.metric}`) ? t(`metric.${row.metric}`) : row.metric;
  return el(
    "tr",
    {},
    el(
      "th",
      { scope: "row" },
      row.threshold === "baseline" ? t("finding.baseline", { metric }) : metric,
      row.role === "primary" ? el("span", { class: "tag" }, t("finding.primary")) : null,
    ),
    el("td", {}, el("bdi", {}, row.class ?? t("finding.all"))),
    ...[row.baseline, row.candidate, row.difference].map((value) => el("td", { class: "figure" }, figure(value))),
    el("td", { class: "figure" }, `${figure(row.lower)} … ${figure(row.upper)}`),
    el("td", { class: "figure" }, number(row.margin, 3)),
    el("td", { class: "figure" }, number(row.n)),
    el("td", {}, verdictWords(row.verdict)),
  );
}

/** @param {[string, string][]} pairs */
export function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))]));
}
