/** `node node.mjs VENDOR FOLDER`: answers the job in FOLDER. */

import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { replay, runtime } from "./replay.mjs";

const [vendor, folder] = process.argv.slice(2);
const wasm = gunzipSync(await readFile(join(vendor, "ort-wasm-simd-threaded.wasm.gz")));
const ort = await runtime(pathToFileURL(join(vendor, "/")).href, wasm);
const read = async (/** @type {string} */ name) => new Uint8Array(await readFile(join(folder, name)));
const write = async (/** @type {string} */ name, /** @type {Uint8Array} */ bytes) => {
  await writeFile(join(folder, `${name}.part`), bytes);
  await rename(join(folder, `${name}.part`), join(folder, name));
};
await replay(ort, read, write, `WebAssembly in node ${process.versions.node}`);
