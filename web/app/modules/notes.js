/** The few words that this app notes on the device, apart from those of other apps of the same origin; where the browser refuses, until the page closes. */

/** Where this app is: two bundles may be served under one origin. */
export const PLACE = new URL("../", import.meta.url).pathname;

/** @type {Map<string, string>} */
const unkept = new Map();

/** What was noted under `name`, or null. @param {string} name */
export function noted(name) {
  try {
    return localStorage.getItem(`${PLACE} ${name}`);
  } catch {
    return unkept.get(name) ?? null;
  }
}

/** @param {string} name @param {string} text */
export function note(name, text) {
  unkept.set(name, text);
  try {
    localStorage.setItem(`${PLACE} ${name}`, text);
  } catch {
    // refused or full: it holds until the page closes
  }
}
