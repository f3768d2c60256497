/** The shapes that modules share; the JSON ones are written by Python (docs/schemas). */

interface Entry {
  bytes: number;
  sha256: string;
}

interface App {
  release: string;
  clinquant: string;
  runtime: string;
  bundle_version: number;
  bundle_created: string;
  manifest_sha256: string;
  model: string;
  optimise: boolean;
  percent_of_float: number | null;
  golden_tolerance: number | null;
  most_pixels: number;
  files: Record<string, Entry>;
}

interface Manifest {
  format: string;
  version: number;
  bundle_version: number;
  created: string;
  clinquant: string;
  previous: string | null;
  files: Record<string, Entry>;
  digest: string;
}

interface Card {
  architecture: string;
  classes: string[];
  positive: number | null;
  bits: string;
  portable: boolean | null;
  threshold: number | null;
  threshold_rule: string;
  refer_below: number | null;
  limits: string;
  preprocess: { size: number };
  grey_window: [number, number];
  scope?: Scope | null;
  sets?: { rule: string; coverage: number; at_least: number[]; cases: number } | null;
}

interface Scope {
  mean: number[];
  whitening: number[];
  limit: number;
}

interface Finding {
  metric: string;
  class: string | null;
  role: string;
  baseline: number | null;
  candidate: number | null;
  difference: number | null;
  lower: number | null;
  upper: number | null;
  margin: number;
  confidence: number;
  unit: string;
  n: number;
  needed: number | null;
  verdict: string;
  threshold: string | null;
}

interface TestSet {
  name: string;
  images: number;
  units: number;
  unit: string;
  images_by_class: Record<string, number>;
  reads: number;
}

interface Evidence {
  verdict: string;
  summary: string;
  findings: Finding[];
  confusion: Record<string, number[][]>;
  test: TestSet;
  external: { test: TestSet; verdict: string; findings: Finding[] }[];
  model: Record<string, string | number | null>;
  files: Record<string, Entry>;
  classes: string[];
  not_shown: string[];
  runtime: string;
  machine: string;
  created: string;
}

interface Bundle {
  manifest: Manifest;
  card: Card;
  evidence: Evidence;
  golden: Uint8Array<ArrayBuffer>;
  model: Uint8Array<ArrayBuffer>;
}

interface NumpyArray {
  shape: number[];
  data: Uint8Array | Float32Array;
}

interface Pixels {
  data: Uint8Array;
  width: number;
  height: number;
}

interface Outputs {
  logits: Float32Array;
  classMap: Float32Array | null;
  mapShape: readonly number[];
  pixels: Uint8Array | null;
}

interface Reply extends Outputs {
  width: number;
  height: number;
  sha256: string;
  distance: number | null;
  decodeMilliseconds: number;
  runMilliseconds: number;
}

interface Answer {
  index: number;
  className: string;
  probability: number;
  probabilities: number[];
  outOfScope: boolean;
  distance: number | null;
  refer: boolean;
  set: string[];
}

interface Opened {
  app: App;
  manifest: Manifest;
  card: Card;
  evidence: Evidence;
  replayed: number;
  milliseconds: number;
  threads: number;
}

interface EngineRequest {
  id: number;
  kind: "open" | "answer";
  bytes?: Uint8Array<ArrayBuffer>;
  bitmap?: ImageBitmap;
}

/** One result as it is kept on the device: nothing that names a patient. */
interface Kept {
  id?: number;
  at: string;
  sha256: string;
  answer: Answer;
  logits: number[];
  classMap: number[] | null;
  mapShape: number[];
  thumbnail: Blob;
  classes: string[];
  model_sha256: string;
  bundle_version: number;
  milliseconds: number;
}

declare module "*/vendor/ort.wasm.min.mjs" {
  export * from "onnxruntime-web";
}

/** A picture of this sitting. */
interface WorkItem {
  key: number;
  name: string;
  file: Blob;
  state: "waiting" | "busy" | "done" | "refused";
  kept?: Kept;
  code?: string;
  values?: Record<string, string | number>;
  notKept?: string;
}

/** What a screen may use. */
interface Context {
  opened: Opened;
  engine: import("./app/modules/engine.js").Engine;
  worklist: import("./app/modules/worklist.js").Worklist;
  keeping: () => string;
  persisted: () => boolean;
  changeLanguage: (tag: string) => Promise<void>;
}
