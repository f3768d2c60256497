/** Fetches the app's files and refuses them unless every one is what was packed. */

import { Refusal } from "./refusal.js";
import { sha256 } from "./sha256.js";

/** What every bundle holds (the licences apart), and what the app needs of it. */
const REQUIRED = ["card.json", "model.onnx", "evidence.json", "predictions.csv", "golden.npz", "README.md"];
const NEEDED = ["card.json", "evidence.json", "golden.npz"];

/** Tables of test cases, which `clinquant app` leaves out. */
const TABLES = ".csv";

/** Of these a browser fetches the one that `app.json` names. */
export const MODELS = ["model.onnx", "model.wasm.onnx"];

/**
 * The bundle, hash by hash.
 * @param {App} app
 * @param {URL} base where the app's folder is
 * @param {(done: number, total: number) => void} progress
 * @returns {Promise<Bundle>}
 */
export async function openBundle(app, base, progress) {
  const manifest = await readManifest(app, base);
  for (const name of REQUIRED) {
    if (!(name in manifest.files)) throw new Refusal("missing", { file: name });
  }
  const model = app.model.replace(/^bundle\//, "");
  if (!MODELS.includes(model) || !(model in manifest.files)) throw new Refusal("missing", { file: app.model });
  const names = Object.keys(manifest.files).filter((name) => name === model || !(MODELS.includes(name) || name.endsWith(TABLES)));
  /** @type {Record<string, Uint8Array<ArrayBuffer>>} */
  const kept = {};
  for (const [index, name] of names.entries()) {
    const bytes = await checked(new URL(`bundle/${name}`, base), name, manifest.files[name]);
    if (name === model || NEEDED.includes(name)) kept[name] = bytes;
    progress(index + 1, names.length);
  }
  return {
    manifest,
    card: parse("card.json", kept["card.json"], "clinquant/card"),
    evidence: parse("evidence.json", kept["evidence.json"], "clinquant/evidence"),
    golden: kept["golden.npz"],
    model: kept[model],
  };
}

/**
 * The app's own description, itself unchanged.
 * @param {URL} base
 * @returns {Promise<App>}
 */
export async function readApp(base) {
  const { format, version, ...app } = parse("app.json", await fetched(new URL("app.json", base), "app.json"), "clinquant/app");
  if ((await digestOf({ ...app, release: "" })) !== app.release) throw new Refusal("changed", { file: "app.json" });
  return app;
}

/** @param {unknown} value @returns {Promise<string>} */
function digestOf(value) {
  return sha256(new TextEncoder().encode(canonical(value)));
}

/** @param {URL} url @param {string} name @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function fetched(url, name) {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(String(response.status));
    return new Uint8Array(await response.arrayBuffer());
  } catch {
    throw new Refusal("missing", { file: name });
  }
}

/**
 * JSON with its keys in order and no spaces, as digests are taken of.
 * @param {unknown} value of objects, strings, numbers that Python and JavaScript write alike, true, false and null
 * @returns {string}
 */
export function canonical(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(",")}}`;
}

/** @param {App} app @param {URL} base @returns {Promise<Manifest>} */
async function readManifest(app, base) {
  const bytes = await fetched(new URL("bundle/manifest.json", base), "manifest.json");
  if ((await sha256(bytes)) !== app.manifest_sha256) throw new Refusal("changed", { file: "manifest.json" });
  const manifest = parse("manifest.json", bytes, "clinquant/manifest");
  const { format, version, ...body } = manifest;
  if ((await digestOf({ ...body, digest: "" })) !== manifest.digest) throw new Refusal("changed", { file: "manifest.json" });
  return manifest;
}

/** @param {URL} url @param {string} name @param {Entry} entry */
async function checked(url, name, entry) {
  const bytes = await fetched(url, name);
  if (bytes.length !== entry.bytes || (await sha256(bytes)) !== entry.sha256) throw new Refusal("changed", { file: name });
  return bytes;
}

/** @param {string} name @param {Uint8Array} bytes @param {string} format @returns {any} */
function parse(name, bytes, format) {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (value.format === format && value.version === 1) return value;
  } catch {
    // falls through to the refusal
  }
  throw new Refusal("changed", { file: name });
}
