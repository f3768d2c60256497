/** One release on the device, kept whole for use without a network; another only when the user asks for it. */

import { note, noted } from "./notes.js";
import { Refusal } from "./refusal.js";

const FLOOR = "newest-bundle-version";

/**
 * `unavailable` where the page is not secure, `installing`, `ready`, or `failed`.
 * @typedef {"unavailable" | "installing" | "ready" | "failed"} Keeping
 */

/** Makes the browser keep this release. @param {(state: Keeping) => void} tell */
export async function keepRelease(tell) {
  if (!("serviceWorker" in navigator)) return tell("unavailable");
  try {
    tell("installing");
    navigator.serviceWorker.addEventListener("message", ({ data }) => tell(data.missing.length ? "failed" : "ready"));
    const registration = await navigator.serviceWorker.register(new URL("../sw.js", import.meta.url), { updateViaCache: "none" });
    const first = registration.installing;
    first?.addEventListener("statechange", () => first.state === "redundant" && !registration.active && tell("failed"));
    await navigator.serviceWorker.ready;
    registration.active?.postMessage("fill");
    navigator.serviceWorker.addEventListener("controllerchange", () => registration.active?.postMessage("fill"));
  } catch {
    tell(navigator.serviceWorker.controller ? "ready" : "failed");
  }
}

/** Refuses a bundle that is older than one this browser has already shown. @param {App} app */
export function refuseOlder(app) {
  const floor = Number(noted(FLOOR) ?? 0);
  if (app.bundle_version < floor) throw new Refusal("older", { version: app.bundle_version, newest: floor });
  note(FLOOR, String(app.bundle_version));
}

/**
 * What the server offers now.
 * @param {App} app what is held
 * @returns {Promise<{state: "same" | "newer" | "older" | "unreachable", app?: App}>}
 */
export async function offered(app) {
  try {
    const response = await fetch(new URL("../app.json?offered", import.meta.url), { cache: "no-store" });
    if (!response.ok) return { state: "unreachable" };
    /** @type {App} */
    const there = await response.json();
    if (there.release === app.release) return { state: "same" };
    return { state: older(there, app) ? "older" : "newer", app: there };
  } catch {
    return { state: "unreachable" };
  }
}

/** Takes the offered release, because the user chose it, and starts the page anew. @param {App} there */
export async function take(there) {
  const registration = await navigator.serviceWorker.ready;
  const notes = await caches.open("clinquant-notes");
  await notes.put(new URL("note-chosen", registration.scope), Response.json({ release: there.release }));
  const changed = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
  const found = await registration.update();
  const coming = found.installing ?? found.waiting;
  if (!coming) throw new Refusal("update-failed");
  const failed = new Promise((resolve) => coming.addEventListener("statechange", () => coming.state === "redundant" && resolve("failed")));
  if ((await Promise.race([changed, failed])) === "failed") throw new Refusal("update-failed");
  location.reload();
}

/** The same rule as in sw.js: by version, and where that is equal by date. @param {App} there @param {App} app */
function older(there, app) {
  if (there.bundle_version !== app.bundle_version) return there.bundle_version < app.bundle_version;
  return there.manifest_sha256 !== app.manifest_sha256 && there.bundle_created < app.bundle_created;
}
