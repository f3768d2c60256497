/** The worker that holds the model: it verifies the bundle, replays the golden vectors, and only then answers pictures. */

import * as ort from "../vendor/ort.wasm.min.mjs";
import { fetched, openBundle, readApp } from "./bundle.js";
import { inflate, replay } from "./golden.js";
import { decode, fromBitmap } from "./pixels.js";
import { Refusal } from "./refusal.js";
import { scopeDistance } from "./scope.js";
import { sha256 } from "./sha256.js";

/** More gain little on networks this small, and slow what else the device does. */
const MOST_THREADS = 4;

const BASE = new URL("../", import.meta.url);

/** @type {ort.InferenceSession | undefined} */
let session;
/** @type {App | undefined} */
let app;
/** @type {Card | undefined} */
let card;

/** @param {MessageEvent<EngineRequest>} event */
self.onmessage = async ({ data }) => {
  try {
    const value = data.kind === "open" ? await open() : await answer(data);
    self.postMessage({ id: data.id, value });
  } catch (error) {
    const refusal = error instanceof Refusal ? error : new Refusal("failed", { reason: String(error) });
    self.postMessage({ id: data.id, refusal: { code: refusal.code, values: refusal.values } });
  }
};

/** @returns {Promise<Opened>} */
async function open() {
  const began = performance.now();
  tell("files", 0, 1);
  app = await readApp(BASE);
  const [bundle] = await Promise.all([openBundle(app, BASE, (done, total) => tell("files", done, total)), startRuntime(app)]);
  tell("model", 0, 1);
  const graphOptimizationLevel = app.optimise ? "all" : "disabled";
  const candidate = await ort.InferenceSession.create(bundle.model, {
    executionProviders: ["wasm"],
    graphOptimizationLevel,
    logSeverityLevel: 3,
  });
  tell("golden", 0, 1);
  const replayed = await replay(bundle.golden, (pixels, height, width) => run(candidate, pixels, height, width), app.golden_tolerance);
  session = candidate;
  card = bundle.card;
  const { manifest, evidence } = bundle;
  return { app, manifest, card, evidence, replayed, milliseconds: performance.now() - began, threads: ort.env.wasm.numThreads ?? 1 };
}

/** The runtime's WebAssembly, expanded here so that any file server will do, and checked like every file. @param {App} app */
async function startRuntime(app) {
  const name = "vendor/ort-wasm-simd-threaded.wasm.gz";
  const packed = await fetched(new URL(name, BASE), name);
  if ((await sha256(packed)) !== app.files[name].sha256) throw new Refusal("changed", { file: name });
  ort.env.wasm.wasmBinary = await inflate(packed, "gzip");
  ort.env.wasm.wasmPaths = { mjs: new URL("vendor/ort-wasm-simd-threaded.mjs", BASE).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = "error";
}

/** @param {EngineRequest} request @returns {Promise<Reply>} */
async function answer(request) {
  if (!session || !app) throw new Refusal("not-ready");
  const began = performance.now();
  const picture = request.bytes ? await decode(request.bytes, app.most_pixels) : frame(/** @type {ImageBitmap} */ (request.bitmap));
  const decoded = performance.now();
  const outputs = await run(session, picture.data, picture.height, picture.width);
  return {
    logits: outputs.logits,
    classMap: outputs.classMap,
    mapShape: outputs.mapShape,
    pixels: null,
    distance: distanceOf(outputs.pixels),
    width: picture.width,
    height: picture.height,
    sha256: request.bytes ? await sha256(request.bytes) : "",
    decodeMilliseconds: decoded - began,
    runMilliseconds: performance.now() - decoded,
  };
}

/** How far the picture is from those the network was trained on, where the card has a rule. @param {Uint8Array | null} pixels */
function distanceOf(pixels) {
  if (!card?.scope) return null;
  if (!pixels) throw new Refusal("no-pixels");
  return scopeDistance(pixels, card.preprocess.size, card.scope);
}

/** @param {ImageBitmap} bitmap */
function frame(bitmap) {
  const picture = fromBitmap(bitmap, false);
  bitmap.close();
  return picture;
}

/**
 * @param {ort.InferenceSession} model
 * @param {Uint8Array} pixels
 * @param {number} height
 * @param {number} width
 * @returns {Promise<Outputs>}
 */
async function run(model, pixels, height, width) {
  const answers = await model.run({ image: new ort.Tensor("uint8", pixels, [1, height, width, 3]) });
  const map = answers.class_map;
  return {
    logits: /** @type {Float32Array} */ (answers.logits.data),
    classMap: map ? /** @type {Float32Array} */ (map.data) : null,
    mapShape: map ? map.dims.slice(2) : [],
    pixels: answers.pixels ? /** @type {Uint8Array} */ (answers.pixels.data) : null,
  };
}

/** @param {string} stage @param {number} done @param {number} total */
function tell(stage, done, total) {
  self.postMessage({ stage, done, total });
}
