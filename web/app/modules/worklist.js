/** The pictures of this sitting: answered one after the other, each result kept in the history. */

import { decide } from "./decide.js";
import { keep } from "./history.js";
import { Refusal } from "./refusal.js";
import { thumbnail } from "./thumbnail.js";

export class Worklist extends EventTarget {
  /** @param {import("./engine.js").Engine} engine @param {Opened} opened */
  constructor(engine, opened) {
    super();
    this.engine = engine;
    this.opened = opened;
    /** @type {WorkItem[]} */
    this.items = [];
    this.running = false;
  }

  /** Takes pictures in; answers the key of the first. @param {Iterable<File | Blob>} files */
  add(files) {
    const first = this.items.length;
    for (const file of files) {
      const name = file instanceof File ? file.name : "";
      this.items.push({ key: this.items.length, name, file, state: "waiting" });
    }
    this.tell();
    void this.work();
    return first;
  }

  async work() {
    if (this.running) return;
    this.running = true;
    for (let item; (item = this.items.find(({ state }) => state === "waiting")); ) await this.answer(item);
    this.running = false;
  }

  /** @param {WorkItem} item */
  async answer(item) {
    item.state = "busy";
    this.tell();
    try {
      const reply = await this.engine.answer(new Uint8Array(await item.file.arrayBuffer()));
      item.kept = await this.toKeep(item.file, reply);
      item.state = "done";
      item.kept.id = await keep(item.kept).catch((error) => void (item.notKept = String(error)));
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal("failed", { reason: String(error) });
      [item.state, item.code, item.values] = ["refused", refusal.code, refusal.values];
    }
    this.tell();
  }

  /** @param {Blob} file @param {Reply} reply @returns {Promise<Kept>} */
  async toKeep(file, reply) {
    const { card, manifest } = this.opened;
    return {
      at: new Date().toISOString(),
      sha256: reply.sha256,
      answer: decide(reply.logits, card, reply.distance),
      logits: Array.from(reply.logits),
      classMap: reply.classMap && Array.from(reply.classMap),
      mapShape: [...reply.mapShape],
      thumbnail: await thumbnail(file),
      classes: card.classes,
      model_sha256: manifest.files["model.onnx"].sha256,
      bundle_version: manifest.bundle_version,
      milliseconds: reply.decodeMilliseconds + reply.runMilliseconds,
    };
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }
}
