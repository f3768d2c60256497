/** Golden vectors: pictures and the exact outputs that the model must give for them, here too. */

import { Refusal } from "./refusal.js";

/**
 * The arrays of an `.npz` file.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<Record<string, NumpyArray>>}
 */
export async function readNpz(bytes) {
  /** @type {Record<string, NumpyArray>} */
  const arrays = {};
  for (const [name, data] of await unzip(bytes)) arrays[name.replace(/\.npy$/, "")] = readNpy(data);
  return arrays;
}

/**
 * Runs the model on every golden picture and refuses it when an output differs.
 * @param {Uint8Array<ArrayBuffer>} file golden.npz
 * @param {(pixels: Uint8Array, height: number, width: number) => Promise<Outputs>} run
 * @param {number | null} tolerance as a share of the largest output; null asks for every bit
 * @returns {Promise<number>} how many were replayed
 */
export async function replay(file, run, tolerance) {
  const arrays = await readNpz(file).catch(() => {
    throw new Refusal("changed", { file: "golden.npz" });
  });
  const names = Object.keys(arrays)
    .filter((name) => name.startsWith("image_"))
    .sort();
  const [rows, classes] = arrays.logits.shape;
  if (rows !== names.length || rows === 0) throw new Refusal("changed", { file: "golden.npz" });
  for (const [index, name] of names.entries()) {
    const image = arrays[name];
    const found = await run(/** @type {Uint8Array} */ (image.data), image.shape[0], image.shape[1]);
    const expected = arrays.logits.data.subarray(index * classes, (index + 1) * classes);
    const map = arrays[name.replace("image_", "class_map_")];
    const same = alike(found.logits, expected, tolerance) && (map ? alike(found.classMap, map.data, tolerance) : found.classMap === null);
    if (!same) throw new Refusal("golden", { index: index + 1 });
  }
  return names.length;
}

/** @param {Float32Array | null} found @param {Float32Array | Uint8Array} expected @param {number | null} tolerance */
function alike(found, expected, tolerance) {
  if (!found || found.length !== expected.length) return false;
  if (tolerance === null) return sameBits(found, expected);
  const most = tolerance * found.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0);
  return found.every((value, index) => Math.abs(value - expected[index]) <= most);
}

/** @param {Float32Array} found @param {Float32Array | Uint8Array} expected */
function sameBits(found, expected) {
  const a = new Uint8Array(found.buffer, found.byteOffset, found.byteLength);
  const b = new Uint8Array(expected.buffer, expected.byteOffset, expected.byteLength);
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/**
 * The members of a zip file, stored or deflated.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<[string, Uint8Array<ArrayBuffer>][]>}
 */
async function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  /** @type {[string, Uint8Array<ArrayBuffer>][]} */
  const members = [];
  for (let left = view.getUint16(end + 10, true), at = view.getUint32(end + 16, true); left > 0; left--) {
    const [method, size] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true)];
    const [name, extra, comment] = [view.getUint16(at + 28, true), view.getUint16(at + 30, true), view.getUint16(at + 32, true)];
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const data = bytes.slice(start, start + size);
    members.push([new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name)), method === 8 ? await inflate(data) : data]);
    at += 46 + name + extra + comment;
  }
  return members;
}

/** @param {Uint8Array<ArrayBuffer>} data @param {CompressionFormat} [format] @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function inflate(data, format = "deflate-raw") {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @param {Uint8Array<ArrayBuffer>} bytes of one `.npy` file, version 1, little endian, C order @returns {NumpyArray} */
function readNpy(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(10, 10 + length));
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "")
    .split(",")
    .filter((part) => part.trim())
    .map(Number);
  const data = bytes.slice(10 + length);
  const count = shape.reduce((product, side) => product * side, 1);
  if (header.includes("'|u1'") && data.length === count) return { shape, data };
  if (header.includes("'<f4'") && data.length === 4 * count) return { shape, data: new Float32Array(data.buffer) };
  throw new Error(`unexpected array: ${header}`);
}
