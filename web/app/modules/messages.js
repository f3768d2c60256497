/** The words of the page: one JSON file a language, every text under a key, numbers in braces. */

import { noted } from "./notes.js";

/**
 * Tag -> the language's own name, of every file in `messages/`; `assemble.py` lists them.
 * @type {Record<string, string>}
 */
export const LANGUAGES = await fetch(new URL("../messages/languages.json", import.meta.url)).then((response) => response.json());

/** @type {Record<string, string>} */
let words = {};
/** @type {string} */
let current = "en";

/** The language in use. */
export const language = () => current;

/** Keeps a name written the other way from disturbing the sentence around it (Unicode 9, first strong isolate). @param {string} text */
const isolated = (text) => `\u2068${text}\u2069`;

/**
 * The text under `key`, its braces filled in.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = words[key];
  if (text === undefined) throw new Error(`no message ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : isolated(values[name] ?? "")));
}

/** @param {string} key */
export const has = (key) => key in words;

/** A whole or decimal number as the language writes it. @param {number} value @param {number} [digits] */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(current, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
}

/** A share as a percentage: one digit, and never rounded up to all or down to nothing. @param {number} share */
export function percent(share) {
  const shown = share > 0.999 && share < 1 ? 0.999 : share < 0.001 && share > 0 ? 0.001 : share;
  const sign = shown === share ? "" : share > 0.5 ? "> " : "< ";
  return sign + new Intl.NumberFormat(current, { style: "percent", maximumFractionDigits: 1 }).format(shown);
}

/** @param {string} iso */
export function moment(iso) {
  return new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
}

/** Loads a language and turns the page to its direction. @param {string} tag */
export async function speak(tag) {
  const known = tag in LANGUAGES ? tag : "en";
  const response = await fetch(new URL(`../messages/${known}.json`, import.meta.url));
  words = await response.json();
  current = known;
  document.documentElement.lang = known;
  document.documentElement.dir = words.direction;
}

/** The language chosen before, else the first of the browser's that there is. */
export function preferred() {
  const wanted = [noted("language") ?? "", ...navigator.languages.map((tag) => tag.split("-")[0])];
  return wanted.find((tag) => tag in LANGUAGES) ?? "en";
}
