/** Whether a picture is unlike the training pictures: the rule of docs/methods/out-of-scope.md, with the same bits as `core/scope.py`. */

/**
 * The distance from the training pictures; out of scope where it is above `scope.limit`.
 * @param {Uint8Array} pixels what the network read, side * side * 3
 * @param {number} side
 * @param {Scope} scope
 */
export function scopeDistance(pixels, side, scope) {
  const deviation = figures(pixels, side).map((figure, index) => figure - scope.mean[index]);
  let [total, place] = [0, 0];
  for (let row = 0; row < deviation.length; row++) {
    let component = 0;
    for (let column = 0; column <= row; column++) component += scope.whitening[place++] * deviation[column];
    total += component * component;
  }
  return Math.sqrt(total);
}

/** The forty figures of a picture. @param {Uint8Array} pixels @param {number} side */
function figures(pixels, side) {
  const grey = Int32Array.from({ length: side * side }, (_, i) => pixels[3 * i] + pixels[3 * i + 1] + pixels[3 * i + 2]);
  const texture = textures(grey, side);
  return [
    ...blocks(grey, side),
    ...texture,
    ...texture.map((value) => Math.sqrt(Math.sqrt(value))),
    ...colours(pixels).map((sum) => Math.sqrt(sum / grey.length)),
    ...histogram(grey).map((count) => Math.sqrt(count / grey.length)),
  ];
}

/** Mean brightness of 4 x 4 blocks. @param {Int32Array} grey @param {number} side */
function blocks(grey, side) {
  const edge = (/** @type {number} */ i) => Math.floor((i * side) / 4);
  const places = [0, 1, 2, 3];
  return places.flatMap((i) => places.map((j) => mean(side, [edge(i), edge(i + 1), edge(j), edge(j + 1)], (p) => grey[p])));
}

/** Differences of brightness across and down at three distances, and the Laplacian's. @param {Int32Array} grey @param {number} side */
function textures(grey, side) {
  const steps = [1, 2, 4].flatMap((lag) => [
    mean(side, [0, side, 0, side - lag], (p) => Math.abs(grey[p + lag] - grey[p])),
    mean(side, [0, side - lag, 0, side], (p) => Math.abs(grey[p + lag * side] - grey[p])),
  ]);
  const around = (/** @type {number} */ p) => grey[p - side] + grey[p + side] + grey[p - 1] + grey[p + 1];
  return [...steps, mean(side, [1, side - 1, 1, side - 1], (p) => Math.abs(4 * grey[p] - around(p)))];
}

/** Sums of absolute differences of red and green, and of green and blue. @param {Uint8Array} pixels */
function colours(pixels) {
  const sums = [0, 0];
  for (let i = 0; i < pixels.length; i += 3) {
    sums[0] += Math.abs(pixels[i] - pixels[i + 1]);
    sums[1] += Math.abs(pixels[i + 1] - pixels[i + 2]);
  }
  return sums;
}

/** @param {Int32Array} grey */
function histogram(grey) {
  const bins = new Array(8).fill(0);
  for (const level of grey) bins[Math.floor((level * 8) / 766)]++;
  return bins;
}

/**
 * A third of the mean of `value` over rows top to bottom and columns left to right, ends excluded.
 * @param {number} side
 * @param {[number, number, number, number]} place
 * @param {(p: number) => number} value
 */
function mean(side, [top, bottom, left, right], value) {
  let sum = 0;
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += value(y * side + x);
  return sum / (3 * (bottom - top) * (right - left));
}
