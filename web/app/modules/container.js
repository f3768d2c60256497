/** Reads of an encoded picture what a browser does not tell: kind, bits, transparency, EXIF rotation, and whether it is whole. */

import { Refusal } from "./refusal.js";

/**
 * `exif` and `xmp` are orientations, 1 to 8; null where the file does not state one. EXIF's counts where both do.
 * @typedef {{type: string, width: number, height: number, transparent: boolean, exif: number | null, xmp: number | null}} Container
 */

const XMP_NAME = "http://ns.adobe.com/xap/1.0/\0";
const XMP_KEY = "XML:com.adobe.xmp\0";

/**
 * @param {Uint8Array<ArrayBuffer>} bytes of a PNG, JPEG or WebP file
 * @returns {Container}
 */
export function inspect(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (bytes.length > 33 && view.getUint32(0) === 0x89504e47 && view.getUint32(4) === 0x0d0a1a0a) return png(bytes, view);
    if (bytes.length > 4 && view.getUint16(0) === 0xffd8) return jpeg(bytes, view);
    if (bytes.length > 20 && text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return webp(bytes, view);
  } catch (error) {
    if (error instanceof RangeError) throw new Refusal("broken");
    throw error;
  }
  throw new Refusal("format");
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {DataView} view @returns {Container} */
function png(bytes, view) {
  /** @type {Container} */
  const found = { type: "image/png", width: 0, height: 0, transparent: false, exif: null, xmp: null };
  let [at, data, ended] = [8, false, false];
  while (!ended) {
    const [length, kind] = [view.getUint32(at), text(bytes, at + 4, 4)];
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (body.length !== length || crc32(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length))
      throw new Refusal("broken");
    if (kind === "IHDR") {
      [found.width, found.height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      if (body[8] === 16) throw new Refusal("sixteen-bit");
      found.transparent = body[9] === 4 || body[9] === 6;
    }
    if (kind === "tRNS") found.transparent = true;
    if (kind === "eXIf") found.exif = exif(body);
    if (kind === "iTXt" && text(body, 0, XMP_KEY.length) === XMP_KEY) found.xmp = xmp(body);
    data ||= kind === "IDAT";
    ended = kind === "IEND";
    at += 12 + length;
  }
  if (!data) throw new Refusal("broken");
  return found;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {DataView} view @returns {Container} */
function jpeg(bytes, view) {
  /** @type {Container} */
  const found = { type: "image/jpeg", width: 0, height: 0, transparent: false, exif: null, xmp: null };
  for (let at = 2; ; ) {
    if (bytes[at] !== 0xff) throw new Refusal("broken");
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker === 0xda) break;
    const length = view.getUint16(at + 2);
    const body = bytes.subarray(at + 4, at + 2 + length);
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      [found.height, found.width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      if (body[0] !== 8 || (body[5] !== 1 && body[5] !== 3)) throw new Refusal("colours");
    }
    if (marker === 0xe1 && text(body, 0, 6) === "Exif\0\0") found.exif ??= exif(body.subarray(6));
    if (marker === 0xe1 && text(body, 0, XMP_NAME.length) === XMP_NAME) found.xmp ??= xmp(body);
    at += 2 + length;
  }
  if (!found.width || !hasEnd(bytes)) throw new Refusal("broken");
  return found;
}

/** Whether the end marker stands in the file: a picture cut short lacks it. @param {Uint8Array} bytes */
function hasEnd(bytes) {
  for (let at = bytes.length - 2; at > 1; at--) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return true;
  }
  return false;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {DataView} view @returns {Container} */
function webp(bytes, view) {
  /** @type {Container} */
  const found = { type: "image/webp", width: 0, height: 0, transparent: false, exif: null, xmp: null };
  if (view.getUint32(4, true) + 8 > bytes.length) throw new Refusal("broken");
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [kind, length] = [text(bytes, at, 4), view.getUint32(at + 4, true)];
    const body = at + 8;
    if (kind === "VP8X") {
      found.transparent = (bytes[body] & 0x10) !== 0;
      [found.width, found.height] = [1 + (view.getUint32(body + 4, true) & 0xffffff), 1 + (view.getUint32(body + 6, true) >>> 8)];
      if (bytes[body] & 0x02) throw new Refusal("animated");
    } else if (kind === "VP8 " && !found.width) {
      [found.width, found.height] = [view.getUint16(body + 6, true) & 0x3fff, view.getUint16(body + 8, true) & 0x3fff];
    } else if (kind === "VP8L") {
      const bits = view.getUint32(body + 1, true);
      if (!found.width) [found.width, found.height] = [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
      found.transparent ||= ((bits >>> 28) & 1) === 1;
    } else if (kind === "EXIF") {
      const skip = text(bytes, body, 6) === "Exif\0\0" ? 6 : 0;
      found.exif = exif(bytes.subarray(body + skip, body + length));
    } else if (kind === "XMP ") {
      found.xmp = xmp(bytes.subarray(body, body + length));
    }
    at = body + length + (length & 1);
  }
  if (!found.width) throw new Refusal("broken");
  return found;
}

/** The orientation tag of an EXIF block, 1 where it is none of 1 to 8, null where there is none. @param {Uint8Array} block */
function exif(block) {
  try {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const little = view.getUint16(0) === 0x4949;
    const start = view.getUint32(4, little);
    for (let left = view.getUint16(start, little), at = start + 2; left > 0; left--, at += 12) {
      if (view.getUint16(at, little) === 0x0112) return known(view.getUint16(at + 8, little));
    }
  } catch {
    // a damaged block turns nothing
  }
  return null;
}

/** The same of an XMP packet. @param {Uint8Array} packet */
function xmp(packet) {
  const found = /tiff:Orientation(?:="|>)([0-9])/.exec(new TextDecoder().decode(packet));
  return found ? known(Number(found[1])) : null;
}

/** @param {number} orientation */
function known(orientation) {
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/** @param {Uint8Array} bytes @param {number} at @param {number} length */
function text(bytes, at, length) {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** The checksum of a PNG chunk (ISO 3309). @param {Uint8Array} bytes */
function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}
