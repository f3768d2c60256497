/** Starts the app: words, colours, verification, then the screens. */

import { el, icon } from "./dom.js";
import { Engine } from "./engine.js";
import { preferred, speak, t } from "./messages.js";
import { note } from "./notes.js";
import { Refusal } from "./refusal.js";
import { evidenceScreen } from "./screens/evidence.js";
import { historyScreen } from "./screens/history.js";
import { liveScreen } from "./screens/live.js";
import { pictureScreen } from "./screens/picture.js";
import { refusedScreen } from "./screens/refused.js";
import { keptScreen, resultScreen } from "./screens/result.js";
import { settingsScreen } from "./screens/settings.js";
import { showTheme } from "./theme.js";
import { keepRelease, refuseOlder } from "./update.js";
import { Worklist } from "./worklist.js";

const PLACES = ["picture", "live", "history", "evidence", "settings"];

/** @type {Record<string, (context: Context, part: string) => HTMLElement>} */
const SCREENS = {
  picture: pictureScreen,
  live: liveScreen,
  history: historyScreen,
  evidence: evidenceScreen,
  settings: settingsScreen,
  result: resultScreen,
  kept: keptScreen,
};

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
let keeping = "installing";
let persisted = false;
/** @type {Context | undefined} */
let context;

showTheme();
await speak(preferred());
void keepRelease((state) => {
  keeping = state;
  badge();
});
await start();

async function start() {
  const bar = el("progress", { max: 1, "aria-label": t("start.title") });
  const line = el("p", { role: "status" }, t("start.files"));
  shell(
    el(
      "section",
      { class: "screen start" },
      el("h1", { tabindex: -1 }, t("start.title")),
      bar,
      line,
      el("p", { class: "quiet" }, t("start.why")),
    ),
  );
  const engine = new Engine((stage, done, total) => {
    line.textContent = t(`start.${stage}`);
    if (stage === "files") bar.value = (0.7 * done) / total;
    else bar.value = stage === "model" ? 0.8 : 0.9;
  });
  try {
    const opened = await engine.open();
    refuseOlder(opened.app);
    persisted = (await navigator.storage?.persisted?.().catch(() => false)) ?? false;
    context = {
      opened,
      engine,
      worklist: new Worklist(engine, opened),
      keeping: () => keeping,
      persisted: () => persisted,
      changeLanguage,
    };
    window.addEventListener("hashchange", show);
    listen(context.worklist);
    show();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
    persisted ||= (await navigator.storage?.persist?.().catch(() => false)) ?? false;
  } catch (error) {
    engine.worker.terminate();
    const refusal = error instanceof Refusal ? error : new Refusal("failed", { reason: String(error) });
    shell(refusedScreen(refusal.code, refusal.values));
  }
}

function show() {
  if (!context) return;
  const [, place = "picture", part = ""] = location.hash.split("/");
  const screen = (SCREENS[place] ?? pictureScreen)(context, part);
  shell(screen, place in SCREENS ? place : "picture");
  document.title = `${screen.querySelector("h1")?.textContent} – clinquant`;
  screen.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

/** The page around a screen. @param {HTMLElement} screen @param {string} [place] */
function shell(screen, place) {
  const current = place === "result" ? "picture" : place === "kept" ? "history" : place;
  const links = PLACES.map((name) =>
    el(
      "li",
      {},
      el("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, icon(name), el("span", {}, t(`nav.${name}`))),
    ),
  );
  root.replaceChildren(
    el("a", { class: "skip", href: "#content", onclick: skip }, t("nav.skip")),
    el(
      "header",
      {},
      el("p", { class: "brand" }, "clinquant"),
      el("p", { class: "about", dir: "auto" }, context ? context.opened.card.classes.join(" / ") : ""),
      el("p", { class: "badge", id: "badge", role: "status" }),
    ),
    context ? el("nav", { "aria-label": t("nav.label") }, el("ul", {}, ...links)) : "",
    el("main", { id: "content", tabindex: -1 }, screen),
    el("footer", {}, icon("person"), el("p", {}, t("notice"))),
  );
  badge();
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

/** Says in the corner whether there is a network and whether the app could do without. */
function badge() {
  const place = document.getElementById("badge");
  if (!place || !context) return;
  const words = keeping === "ready" ? t(navigator.onLine ? "badge.ready" : "badge.offline") : t(`badge.${keeping}`);
  place.replaceChildren(icon(keeping === "ready" ? "check" : "info"), words);
  place.dataset.state = keeping;
}

window.addEventListener("online", badge);
window.addEventListener("offline", badge);

/** Pictures that are dropped or pasted anywhere. @param {Worklist} worklist */
function listen(worklist) {
  const take = (/** @type {File[]} */ files) => {
    if (!files.length) return;
    const first = worklist.add(files);
    location.hash = files.length === 1 ? `#/result/${first}` : "#/picture";
  };
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });
  window.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
}

/** @param {string} tag */
async function changeLanguage(tag) {
  note("language", tag);
  await speak(tag);
  show();
  document.getElementById("language")?.focus();
}
