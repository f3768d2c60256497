// Times files on ONNX Runtime Web's WebAssembly, one thread, interleaved, and tells what they answer.
//
//     node wasm.mjs PACKAGE SIZE RUNS LEVEL:FILE...
//
// PACKAGE is the folder of onnxruntime-web, LEVEL of graph optimisation all or disabled. Prints a line of JSON a file.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [packageFolder, side, runs, ...asked] = process.argv.slice(2);
const ort = await import(pathToFileURL(join(packageFolder, "dist", "ort.wasm.bundle.min.mjs")).href);
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "fatal";

const size = Number(side);
const image = (seed) =>
  new ort.Tensor("uint8", Uint8Array.from({ length: size * size * 3 }, (_, i) => (Math.imul(i + 7919 * seed, 2654435761) >>> 13) & 255), [1, size, size, 3]);

const sessions = [];
for (const file of asked) {
  const [level, path] = [file.slice(0, file.indexOf(":")), file.slice(file.indexOf(":") + 1)];
  sessions.push(await ort.InferenceSession.create(readFileSync(path), { executionProviders: ["wasm"], graphOptimizationLevel: level }));
}
const milliseconds = asked.map(() => []);
const answered = asked.map(() => createHash("sha256"));
for (let run = -2; run < Number(runs); run++) {
  for (const [i, session] of sessions.entries()) {
    const pixels = image(run + 2);
    const began = performance.now();
    const { logits } = await session.run({ image: pixels });
    if (run >= 0) milliseconds[i].push(performance.now() - began);
    answered[i].update(new Uint8Array(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength));
  }
}
for (const i of asked.keys()) {
  console.log(JSON.stringify({ milliseconds: milliseconds[i], answered: answered[i].digest("hex"), version: ort.env.versions.web }));
}
