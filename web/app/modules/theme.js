/** Light, dark, or as the device says. */

import { note, noted } from "./notes.js";

export const THEMES = ["auto", "light", "dark"];

export const chosenTheme = () => noted("theme") ?? "auto";

/** @param {string} name */
export function chooseTheme(name) {
  note("theme", name);
  showTheme();
}

export function showTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const name = chosenTheme();
  document.documentElement.dataset.theme = name === "auto" ? (dark ? "dark" : "light") : name;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
