/** The camera, frame after frame through the model, with the rate that is really reached. */

import { decide } from "../decide.js";
import { el, icon } from "../dom.js";
import { number, percent, t } from "../messages.js";
import { Refusal } from "../refusal.js";
import { decisionMark } from "./result.js";

/** Over how long the frame rate is measured, milliseconds. */
const WINDOW = 2000;

/** @param {Context} context @returns {HTMLElement} */
export function liveScreen(context) {
  const video = el("video", { playsinline: true, muted: true, "aria-label": t("live.video") });
  const said = el("div", { class: "live-said" });
  const start = el("button", { class: "primary", onclick: () => void run() }, icon("live"), t("live.start"));
  const stop = el("button", { onclick: () => end(), hidden: true }, icon("stop"), t("live.stop"));
  const shoot = el("button", { class: "primary", onclick: () => void keepFrame(), hidden: true }, icon("camera"), t("live.keep"));
  const screen = el(
    "section",
    { class: "screen" },
    el("h1", { tabindex: -1 }, t("live.title")),
    el("p", { class: "lead" }, t("live.lead")),
    el("div", { class: "live" }, el("div", { class: "frame" }, video), said),
    el("div", { class: "buttons" }, start, stop, shoot),
  );

  async function run() {
    if (!navigator.mediaDevices?.getUserMedia) return say(el("p", { class: "note" }, t("live.unavailable")));
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    } catch (error) {
      return say(el("p", { class: "note" }, t("live.denied", { reason: error instanceof Error ? error.name : String(error) })));
    }
    await video.play();
    buttons(true);
    await answerFrames().catch((error) => {
      if (!video.srcObject) return;
      end();
      const { code, values } = error instanceof Refusal ? error : new Refusal("failed", { reason: String(error) });
      say(el("p", { class: "note" }, t(`refused.${code}`, values)));
    });
  }

  /** Until the camera is stopped or the screen is left. */
  async function answerFrames() {
    /** @type {number[]} */
    const ends = [];
    while (video.srcObject) {
      if (!screen.isConnected) return end();
      const reply = await context.engine.answerFrame(await createImageBitmap(video, { colorSpaceConversion: "none" }));
      ends.push(performance.now());
      while (ends[0] < ends[ends.length - 1] - WINDOW) ends.shift();
      if (video.srcObject) show(decide(reply.logits, context.opened.card, reply.distance), rate(ends));
    }
  }

  /** @param {Answer} answer @param {number} frames a second */
  function show(answer, frames) {
    say(
      el("p", { class: "live-class" }, decisionMark(answer)),
      answer.outOfScope ? "" : el("p", {}, el("bdi", {}, answer.className), ` ${percent(answer.probability)}`),
      el("p", { class: "quiet", "data-rate": frames.toFixed(2) }, t("live.rate", { rate: number(frames, 1) })),
    );
  }

  async function keepFrame() {
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    end();
    if (blob) location.hash = `#/result/${context.worklist.add([blob])}`;
  }

  function end() {
    const stream = /** @type {MediaStream | null} */ (video.srcObject);
    stream?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    buttons(false);
  }

  /** @param {boolean} running */
  function buttons(running) {
    [start.hidden, stop.hidden, shoot.hidden] = [running, !running, !running];
  }

  /** @param {...(Node | string)} words */
  function say(...words) {
    said.replaceChildren(...words);
  }

  return screen;
}

/** @param {number[]} ends when frames were answered, milliseconds @returns {number} frames a second */
function rate(ends) {
  const span = ends[ends.length - 1] - ends[0];
  return span > 0 ? ((ends.length - 1) * 1000) / span : 0;
}
