/** Encoded bytes to the very pixels that `clinquant predict` reads: uint8 RGB, no colour conversion, transparency over black. */

import { inspect } from "./container.js";
import { Refusal } from "./refusal.js";

/** Pictures of 2 x 1 pixels that EXIF turns upright: whether a browser turns pictures although asked not to differs by kind. */
/** @type {Record<string, string>} */
const TURNED = {
  "image/png":
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAAAAADRSSBWAAAAGmVYSWZNTQAqAAAACAABARIAAwAAAAEABgAAAAAAANZnS2kAAAALSURBVHjaY0xhAAAAzgBmaQbAwQAAAABJRU5ErkJggg==",
  "image/jpeg":
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/wAALCAABAAIBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AO//Z",
  "image/webp":
    "UklGRlgAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4IBgAAAAwAQCdASoCAAEAB0CWJaQAA3AA/u8kQABFWElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA",
};

/** @type {ImageBitmapOptions} */
const AS_STORED = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "none" };

/** @type {Map<string, Promise<boolean>>} */
const turning = new Map();

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number} mostPixels a larger picture is refused undecoded
 * @returns {Promise<Pixels>}
 */
export async function decode(bytes, mostPixels) {
  const container = inspect(bytes);
  if (container.width * container.height > mostPixels) throw new Refusal("too-large", { pixels: container.width * container.height });
  if (!turning.has(container.type)) turning.set(container.type, turnsAnyway(container.type));
  const bitmap = await toBitmap(bytes, container.type);
  try {
    const stored = fromBitmap(bitmap, container.transparent);
    const done = container.exif !== null && (await turning.get(container.type));
    return done ? stored : turned(stored, container.exif ?? container.xmp ?? 1);
  } finally {
    bitmap.close();
  }
}

/**
 * @param {ImageBitmap} bitmap closed by the caller
 * @param {boolean} transparent
 * @returns {Pixels}
 */
export function fromBitmap(bitmap, transparent) {
  const { width, height } = bitmap;
  const rgba = transparent ? readStraight(bitmap) : readOpaque(bitmap);
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    const alpha = rgba[from + 3];
    data[to] = overBlack(rgba[from], alpha);
    data[to + 1] = overBlack(rgba[from + 1], alpha);
    data[to + 2] = overBlack(rgba[from + 2], alpha);
  }
  return { data, width, height };
}

/**
 * The picture as EXIF wants it seen.
 * @param {Pixels} picture
 * @param {number} orientation 1 to 8
 * @returns {Pixels}
 */
export function turned(picture, orientation) {
  if (orientation <= 1) return picture;
  const { data, width, height } = picture;
  const swapped = orientation >= 5;
  const [w, h] = swapped ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  const right = [2, 3, 6, 7].includes(orientation);
  const bottom = [3, 4, 7, 8].includes(orientation);
  for (let y = 0, to = 0; y < h; y++) {
    for (let x = 0; x < w; x++, to += 3) {
      const [u, v] = [right ? w - 1 - x : x, bottom ? h - 1 - y : y];
      const from = 3 * (swapped ? u * width + v : v * width + u);
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { data: out, width: w, height: h };
}

/** Pillow's alpha_composite over opaque black, in its own integers. @param {number} level @param {number} alpha */
function overBlack(level, alpha) {
  if (alpha === 255) return level;
  const sum = 128 * (level * alpha + 128);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {string} type */
async function toBitmap(bytes, type) {
  try {
    return await createImageBitmap(new Blob([bytes], { type }), AS_STORED);
  } catch {
    throw new Refusal("broken");
  }
}

/** @type {OffscreenCanvas | undefined} */
let plain;

/** RGBA of a picture without transparency. @param {ImageBitmap} bitmap */
function readOpaque(bitmap) {
  plain ??= new OffscreenCanvas(1, 1);
  [plain.width, plain.height] = [bitmap.width, bitmap.height];
  const context = plain.getContext("2d", { willReadFrequently: true });
  if (!context || plain.width !== bitmap.width) throw new Refusal("no-canvas");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  [plain.width, plain.height] = [1, 1];
  return data;
}

/** RGBA as it is stored: a plain canvas would multiply colours by alpha and lose bits. @param {ImageBitmap} bitmap */
function readStraight(bitmap) {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || Math.max(bitmap.width, bitmap.height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Refusal("no-transparency");
  try {
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
    const rgba = new Uint8Array(bitmap.width * bitmap.height * 4);
    gl.readPixels(0, 0, bitmap.width, bitmap.height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    if (gl.getError() !== gl.NO_ERROR) throw new Refusal("no-transparency");
    return rgba;
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** @param {string} type */
async function turnsAnyway(type) {
  const bitmap = await toBitmap(
    Uint8Array.from(atob(TURNED[type]), (letter) => letter.charCodeAt(0)),
    type,
  );
  const turns = bitmap.width === 1;
  bitmap.close();
  return turns;
}
