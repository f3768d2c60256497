/** Light, dark, or as the device says. */

export const THEMES = ["auto", "light", "dark"];

export const chosenTheme = () => localStorage.getItem("theme") ?? "auto";

/** @param {string} name */
export function chooseTheme(name) {
  localStorage.setItem("theme", name);
  showTheme();
}

export function showTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const name = chosenTheme();
  document.documentElement.dataset.theme = name === "auto" ? (dark ? "dark" : "light") : name;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
