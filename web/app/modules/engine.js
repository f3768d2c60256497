/** The page's side of the worker that holds the model. */

import { Refusal } from "./refusal.js";

export class Engine {
  /** @param {(stage: string, done: number, total: number) => void} progress */
  constructor(progress) {
    this.worker = new Worker(new URL("./engine.worker.js", import.meta.url), { type: "module" });
    /** @type {Map<number, {resolve: (value: any) => void, reject: (reason: Error) => void}>} */
    this.waiting = new Map();
    this.next = 0;
    this.worker.onmessage = ({ data }) => {
      if ("stage" in data) return progress(data.stage, data.done, data.total);
      const promise = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.refusal) promise?.reject(new Refusal(data.refusal.code, data.refusal.values));
      else promise?.resolve(data.value);
    };
    this.worker.onerror = (event) => {
      for (const promise of this.waiting.values()) promise.reject(new Refusal("failed", { reason: event.message ?? "worker" }));
      this.waiting.clear();
    };
  }

  /** Verifies everything and loads the model. @returns {Promise<Opened>} */
  open() {
    return this.ask({ kind: "open" });
  }

  /** The model's outputs for an encoded picture. @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<Reply>} */
  answer(bytes) {
    return this.ask({ kind: "answer", bytes });
  }

  /** The model's outputs for a camera's frame, which is given away. @param {ImageBitmap} bitmap @returns {Promise<Reply>} */
  answerFrame(bitmap) {
    return this.ask({ kind: "answer", bitmap }, [bitmap]);
  }

  /** @param {Omit<EngineRequest, "id">} request @param {Transferable[]} [transfer] @returns {Promise<any>} */
  ask(request, transfer = []) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...request }, transfer);
    });
  }
}
