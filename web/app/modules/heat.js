/** The class map over its picture: where the picture speaks for one class rather than another, as in the report. */

const FOR = [230, 97, 1];
const AGAINST = [60, 120, 216];
const SIDE = 256;
const LINE = 0.5;

/**
 * A canvas of the tint, transparent where the map says nothing. The strongest place of each picture is fully tinted. The solid line
 * surrounds what speaks strongest for the class, the dashed line what speaks strongest for the other: colour never stands alone.
 * @param {ArrayLike<number>} maps [classes, rows, columns]
 * @param {readonly number[]} shape rows and columns
 * @param {number} forClass
 * @param {number} against
 * @param {number} aspect width over height of the picture
 */
export function heat(maps, [rows, columns], forClass, against, aspect) {
  const plane = rows * columns;
  const difference = Float32Array.from({ length: plane }, (_, i) => maps[forClass * plane + i] - maps[against * plane + i]);
  const peak = difference.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const canvas = document.createElement("canvas");
  canvas.width = aspect >= 1 ? SIDE : Math.max(1, Math.round(SIDE * aspect));
  canvas.height = aspect >= 1 ? Math.max(1, Math.round(SIDE / aspect)) : SIDE;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const field = enlarged(difference, rows, columns, canvas.width, canvas.height).map((value) => value / peak);
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < field.length; i++) {
    const lined = onLine(field, i, canvas.width);
    const colour = field[i] > 0 ? FOR : AGAINST;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = lined ? 255 : colour[c];
    image.data[4 * i + 3] = lined ? 255 : Math.min(1, Math.abs(field[i])) * 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/**
 * Whether the level LINE is crossed between a point and its right or lower neighbour; dashed below zero.
 * @param {Float32Array} field
 * @param {number} i
 * @param {number} width
 */
function onLine(field, i, width) {
  const [x, y] = [i % width, Math.floor(i / width)];
  for (const neighbour of [i + 1, i + width]) {
    if (neighbour >= field.length || (neighbour === i + 1 && x === width - 1)) continue;
    for (const level of [LINE, -LINE]) {
      if (field[i] > level !== field[neighbour] > level) return level > 0 || (x + y) % 12 < 6;
    }
  }
  return false;
}

/**
 * Bilinear, as pixels with their centres at halves.
 * @param {Float32Array} map
 * @param {number} rows
 * @param {number} columns
 * @param {number} width
 * @param {number} height
 */
function enlarged(map, rows, columns, width, height) {
  const out = new Float32Array(width * height);
  const [xs, ys] = [weights(columns, width), weights(rows, height)];
  for (let y = 0; y < height; y++) {
    const [top, bottom, v] = ys[y];
    for (let x = 0; x < width; x++) {
      const [left, right, u] = xs[x];
      const upper = map[top * columns + left] * (1 - u) + map[top * columns + right] * u;
      const lower = map[bottom * columns + left] * (1 - u) + map[bottom * columns + right] * u;
      out[y * width + x] = upper * (1 - v) + lower * v;
    }
  }
  return out;
}

/**
 * For each of `to` places: two neighbours among `from` and the weight of the second.
 * @param {number} from
 * @param {number} to
 * @returns {[number, number, number][]}
 */
function weights(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const first = Math.floor(at);
    return [first, Math.min(from - 1, first + 1), at - first];
  });
}
