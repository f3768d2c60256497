/** The history as CSV and JSON files. */

/** @param {Kept[]} results @param {string[]} classes @returns {string} */
export function toCsv(results, classes) {
  const head = [
    "id",
    "at",
    "out_of_scope",
    "class",
    "probability",
    "refer",
    "set",
    ...classes.map((name) => `probability:${name}`),
    ...classes.map((name) => `logit:${name}`),
  ];
  const rows = results.map((kept) => [
    kept.id ?? "",
    kept.at,
    kept.answer.outOfScope ? "OUT OF SCOPE" : "",
    kept.answer.outOfScope ? "" : kept.answer.className,
    kept.answer.outOfScope ? "" : kept.answer.probability,
    kept.answer.refer ? "REFER" : "",
    kept.answer.set.join("; "),
    ...classes.map((name) => kept.answer.probabilities[kept.classes.indexOf(name)] ?? ""),
    ...classes.map((name) => kept.logits[kept.classes.indexOf(name)] ?? ""),
    kept.sha256,
    kept.model_sha256,
    kept.bundle_version,
  ]);
  return [[...head, "image_sha256", "model_sha256", "bundle_version"], ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** @param {Kept[]} results @returns {string} */
export function toJson(results) {
  const plain = results.map(({ thumbnail, classMap, mapShape, ...kept }) => kept);
  return `${JSON.stringify({ format: "clinquant/history", version: 1, results: plain }, null, 1)}\n`;
}

/** Hands a file to the user. @param {string} name @param {string} text @param {string} type */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  [link.href, link.download] = [url, name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A quoted cell; what a spreadsheet would run as a formula is made plain text. @param {string | number} value */
function cell(value) {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
