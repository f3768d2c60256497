/** The first screen: where pictures come in, and what became of those of this sitting. */

import { el, icon } from "../dom.js";
import { t } from "../messages.js";
import { decisionMark, shareOf } from "./result.js";

/** @typedef {import("../worklist.js").Worklist} Worklist */

/** @param {Context} context @returns {HTMLElement} */
export function pictureScreen({ worklist }) {
  const take = (/** @type {Iterable<File>} */ files) => {
    const pictures = [...files];
    const first = pictures.length ? worklist.add(pictures) : -1;
    if (pictures.length === 1) location.hash = `#/result/${first}`;
  };
  const screen = el("section", { class: "screen" }, el("h1", { tabindex: -1 }, t("picture.title")), intake(take));
  screen.append(cards(worklist, screen));
  return screen;
}

/**
 * The pictures of this sitting, the newest first; a change touches its own card only.
 * @param {Worklist} worklist
 * @param {HTMLElement} screen
 */
function cards(worklist, screen) {
  const progress = el("p", { class: "quiet", role: "status" });
  const list = el("ul", { class: "cards" });
  const holder = el("div", { class: "worklist", hidden: true }, el("h2", {}, t("worklist.title")), progress, list);
  /** @type {{state: string, element: HTMLElement}[]} */
  const shown = [];
  const show = () => {
    if (shown.length && !screen.isConnected) return worklist.removeEventListener("change", show);
    const { items } = worklist;
    holder.hidden = items.length === 0;
    progress.textContent = t("worklist.progress", {
      done: items.filter(({ state }) => state === "done" || state === "refused").length,
      total: items.length,
    });
    for (const item of items) {
      const old = shown[item.key];
      if (old?.state === item.state) continue;
      shown[item.key] = { state: item.state, element: card(item) };
      if (old) old.element.replaceWith(shown[item.key].element);
      else list.prepend(shown[item.key].element);
    }
  };
  worklist.addEventListener("change", show);
  show();
  return holder;
}

/** @param {(files: Iterable<File>) => void} take */
function intake(take) {
  const choose = fileInput({ multiple: true }, take);
  const shoot = fileInput({ capture: "environment" }, take);
  return el(
    "div",
    { class: "drop", id: "drop" },
    icon("picture"),
    el("p", { class: "lead" }, t("picture.lead")),
    el(
      "div",
      { class: "buttons" },
      choose,
      el("button", { class: "primary", onclick: () => choose.click() }, icon("picture"), t("picture.choose")),
      shoot,
      el("button", { onclick: () => shoot.click() }, icon("camera"), t("picture.take")),
      el("button", { onclick: () => void paste(take) }, icon("paste"), t("picture.paste")),
    ),
    el("p", { class: "quiet" }, t("picture.kinds")),
  );
}

/** @param {Record<string, unknown>} properties @param {(files: Iterable<File>) => void} take */
function fileInput(properties, take) {
  const input = el("input", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp",
    hidden: true,
    onchange: () => {
      take([...(input.files ?? [])]);
      input.value = "";
    },
    ...properties,
  });
  return input;
}

/**
 * Pictures from the clipboard; where a page may not read it, the keys for pasting still do.
 * @param {(files: Iterable<File>) => void} take
 */
async function paste(take) {
  const items = await navigator.clipboard?.read?.().catch(() => []);
  const files = [];
  for (const item of items ?? []) {
    const type = item.types.find((name) => name.startsWith("image/"));
    if (type) files.push(new File([await item.getType(type)], "", { type }));
  }
  take(files);
}

/** @param {WorkItem} item */
function card(item) {
  const name = item.name || t("worklist.unnamed", { number: item.key + 1 });
  if (item.state === "done" && item.kept) {
    const { answer } = item.kept;
    return el(
      "li",
      {},
      el(
        "a",
        { class: "card", href: `#/result/${item.key}` },
        picture(item.kept.thumbnail),
        el("span", { class: "card-words" }, decisionMark(answer), el("span", { class: "quiet" }, `${shareOf(answer)}${name}`)),
      ),
    );
  }
  const words = item.state === "refused" ? t(`refused.${item.code}`, item.values) : t(`worklist.${item.state}`);
  const mark = item.state === "refused" ? icon("stop") : null;
  return el(
    "li",
    {},
    el(
      "div",
      { class: `card ${item.state}` },
      el("span", { class: "card-words" }, el("span", { class: "mark" }, mark, el("span", {}, words)), el("span", { class: "quiet" }, name)),
    ),
  );
}

/** @param {Blob} blob */
export function picture(blob) {
  const url = URL.createObjectURL(blob);
  const release = () => URL.revokeObjectURL(url);
  return el("img", { src: url, alt: "", onload: release, onerror: release });
}
