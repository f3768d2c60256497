/** Language, colours, what is kept on this device, and updates, which only the user starts. */

import { el, icon } from "../dom.js";
import { LANGUAGES, language, moment, number, t } from "../messages.js";
import { THEMES, chooseTheme, chosenTheme } from "../theme.js";
import { offered, take } from "../update.js";
import { facts } from "./evidence.js";

/** @param {Context} context @returns {HTMLElement} */
export function settingsScreen(context) {
  return el(
    "section",
    { class: "screen" },
    el("h1", { tabindex: -1 }, t("settings.title")),
    languages(context),
    themes(),
    el("h2", {}, t("settings.offline")),
    el("p", {}, t(`keeping.${context.keeping()}`)),
    ...(isSecureContext ? [] : [el("p", { class: "note" }, t("settings.insecure"))]),
    el("h2", {}, t("settings.update")),
    updates(context),
    el("h2", {}, t("settings.checked")),
    checked(context.opened),
  );
}

/** @param {Context} context */
function languages(context) {
  const select = el(
    "select",
    { id: "language", onchange: () => void context.changeLanguage(select.value) },
    ...Object.entries(LANGUAGES).map(([tag, name]) => el("option", { value: tag, lang: tag, selected: tag === language() }, name)),
  );
  return el("p", { class: "field" }, el("label", { for: "language" }, t("settings.language")), select);
}

function themes() {
  const choice = (/** @type {string} */ name) =>
    el(
      "label",
      { class: "choice" },
      el("input", { type: "radio", name: "theme", value: name, checked: name === chosenTheme(), onchange: () => chooseTheme(name) }),
      t(`theme.${name}`),
    );
  return el("fieldset", {}, el("legend", {}, t("settings.theme")), ...THEMES.map(choice));
}

/** @param {Context} context */
function updates({ opened }) {
  const said = el("div", { class: "stack", role: "status" });
  const holder = el("div", { class: "stack" });
  const look = async () => {
    said.replaceChildren(el("p", {}, t("update.looking")));
    const { state, app } = await offered(opened.app);
    said.replaceChildren(el("p", {}, t(`update.${state}`)));
    if (state === "newer" && app) said.append(...offer(app, said));
  };
  holder.append(
    el("p", {}, t("update.held", { version: opened.manifest.bundle_version, at: moment(opened.manifest.created) })),
    el("p", { class: "buttons" }, el("button", { onclick: () => void look() }, t("update.look"))),
    said,
  );
  return holder;
}

/** @param {App} app @param {HTMLElement} said */
function offer(app, said) {
  const act = () => void take(app).catch(() => said.replaceChildren(el("p", { class: "note" }, t("refused.update-failed"))));
  const words = t("update.offer", { version: app.bundle_version, at: moment(app.bundle_created) });
  return [
    el("p", {}, words),
    el("p", { class: "buttons" }, el("button", { class: "primary", onclick: act }, icon("save"), t("update.take"))),
  ];
}

/** @param {Opened} opened */
function checked({ app, replayed, milliseconds, threads }) {
  const storage = el("p", { class: "quiet" });
  void navigator.storage
    ?.estimate?.()
    .then(({ usage }) => (storage.textContent = t("settings.storage", { megabytes: number((usage ?? 0) / 1e6, 1) })));
  return el(
    "div",
    {},
    facts([
      [t("checked.files"), number(Object.keys(app.files).filter((name) => name.startsWith("bundle/")).length)],
      [t(app.golden_tolerance === null ? "checked.golden" : "checked.golden-near"), number(replayed)],
      [t("checked.time"), `${number(milliseconds / 1000, 1)} s`],
      [t("checked.runtime"), `${app.runtime}, ${number(threads)}`],
      [t("checked.release"), app.release.slice(0, 16)],
      ["clinquant", app.clinquant],
    ]),
    storage,
  );
}
