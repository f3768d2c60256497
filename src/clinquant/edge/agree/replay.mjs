/** Answers a job with ONNX Runtime Web, as the tablet app runs a model: the same file, one thread, the graph optimised only where it may be. */

/**
 * @param {any} ort the runtime
 * @param {(name: string) => Promise<Uint8Array>} read a file of the job's folder
 * @param {(name: string, bytes: Uint8Array) => Promise<void>} write one
 * @param {string} machine in words
 */
export async function replay(ort, read, write, machine) {
  const job = JSON.parse(new TextDecoder().decode(await read("job.json")));
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: job.optimise ? "all" : "disabled" };
  const session = await ort.InferenceSession.create(await read(job.model), options);
  for (const [index, { file, height, width }] of job.pictures.entries()) {
    const image = new ort.Tensor("uint8", await read(file), [1, height, width, 3]);
    const answers = await session.run({ image });
    for (const name of ["logits", "class_map", "pixels"]) {
      const values = answers[name]?.data;
      if (values) await write(`${index}.${name}.bin`, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  }
  const answers = { format: "clinquant/agree-answers", version: 1, runtime: `onnxruntime-web ${ort.env.versions.web}`, machine };
  await write("answers.json", new TextEncoder().encode(JSON.stringify(answers)));
}

/**
 * The runtime, set up from the app's own files.
 * @param {string} vendor URL of their folder
 * @param {Uint8Array} wasm its WebAssembly, unpacked
 */
export async function runtime(vendor, wasm) {
  const ort = await import(`${vendor}ort.wasm.min.mjs`);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.wasmPaths = { mjs: `${vendor}ort-wasm-simd-threaded.mjs` };
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return ort;
}
