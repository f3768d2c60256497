// Times files on ONNX Runtime Web's WebAssembly in the page that imports this, one thread, taking turns, and tells what they answer.

import { runtime } from "./replay.mjs";

/**
 * @param {{files: {file: string, optimise: boolean}[], size: number, warmUp: number, runs: number}} asked files beside this module, the side
 *   of their input, and how often each answers before and while it is timed
 * @returns for each file its milliseconds, the SHA-256 of all logits in turn, and the runtime's version
 */
export async function measure({ files, size, warmUp, runs }) {
  const packed = await fetched("vendor/ort-wasm-simd-threaded.wasm.gz");
  const wasm = await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const ort = await runtime(new URL("vendor/", import.meta.url).href, new Uint8Array(wasm));
  const found = [];
  for (const { file, optimise } of files) {
    const bytes = new Uint8Array(await (await fetched(file)).arrayBuffer());
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: optimise ? "all" : "disabled" };
    found.push({ session: await ort.InferenceSession.create(bytes, options), milliseconds: [], logits: [] });
  }
  for (let run = 0; run < warmUp + runs; run++) {
    for (const { session, milliseconds, logits } of found) {
      const image = new ort.Tensor("uint8", picture(size, run), [1, size, size, 3]);
      const began = performance.now();
      const answer = await session.run({ image });
      if (run >= warmUp) milliseconds.push(performance.now() - began);
      logits.push(...new Uint8Array(answer.logits.data.slice().buffer));
    }
  }
  return Promise.all(
    found.map(async ({ milliseconds, logits }) => ({ milliseconds, answered: await hex(logits), version: ort.env.versions.web })),
  );
}

/** The same pixels as `image` in wasm.py. */
function picture(size, seed) {
  return Uint8Array.from({ length: size * size * 3 }, (_, i) => (Math.imul(i + 7919 * seed, 2654435761) >>> 13) & 255);
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response;
}

async function hex(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
