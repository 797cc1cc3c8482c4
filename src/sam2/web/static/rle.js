/**
 * COCO's run lengths: column by column, background first; each run from the fourth on is written as the difference to
 * the one two before it, in groups of five bits. Masks in memory are bytes, column by column too: a run is one `fill`.
 *
 * @typedef {{size: [number, number], counts: string}} Rle size is [height, width]
 */

const FIRST = 48;
const [VALUE, SIGN, MORE] = [31, 16, 32];

/** @type {WeakMap<Rle, Float64Array>} */
const known = new WeakMap();

/** The runs that COCO's string holds. @param {string} text @returns {Float64Array} */
export function stringToRuns(text) {
  const runs = /** @type {number[]} */ ([]);
  for (let at = 0; at < text.length; ) {
    let [value, unit, more] = [0, 1, true];
    while (more) {
      const code = text.charCodeAt(at++) - FIRST;
      if (!(code >= 0 && code < 2 * MORE)) throw new RangeError("not the run lengths of a mask");
      value += (code & VALUE) * unit; // products, for shifts end at 32 bits
      unit *= 32;
      more = (code & MORE) !== 0;
      if (!more && code & SIGN) value -= unit;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return Float64Array.from(runs);
}

/** Runs as COCO's string. @param {ArrayLike<number>} runs @returns {string} */
export function runsToString(runs) {
  const parts = [];
  for (let index = 0; index < runs.length; index++) {
    let value = runs[index] - (index > 2 ? runs[index - 2] : 0);
    for (let more = true; more; ) {
      const rest = Math.floor(value / 32);
      const low = value - rest * 32;
      more = rest !== (low & SIGN ? -1 : 0);
      parts.push(String.fromCharCode(low + (more ? MORE : 0) + FIRST));
      value = rest;
    }
  }
  return parts.join("");
}

/** The runs of a mask, parsed once. @param {Rle} rle @returns {Float64Array} */
export function runsOf(rle) {
  let runs = known.get(rle);
  if (!runs) {
    runs = stringToRuns(rle.counts);
    if (runs.reduce((sum, run) => sum + run, 0) !== rle.size[0] * rle.size[1]) {
      throw new RangeError("run lengths do not fill the mask");
    }
    known.set(rle, runs);
  }
  return runs;
}

/** The bytes of a mask, 0 or 1, column by column. @param {Rle} rle @returns {Uint8Array} */
export function decode(rle) {
  const bits = new Uint8Array(rle.size[0] * rle.size[1]);
  let at = 0;
  runsOf(rle).forEach((run, index) => {
    if (index & 1) bits.fill(1, at, at + run);
    at += run;
  });
  return bits;
}

/** The mask of bytes that are column by column. @param {Uint8Array} bits @param {[number, number]} size @returns {Rle} */
export function encode(bits, size) {
  const runs = /** @type {number[]} */ ([]);
  let [start, value] = [0, 0];
  while (start < bits.length) {
    const end = bits.indexOf(1 - value, start);
    runs.push((end < 0 ? bits.length : end) - start);
    start = end < 0 ? bits.length : end;
    value = 1 - value;
  }
  return { size, counts: runsToString(runs) };
}

/** Whether a pixel of the mask is set. @param {Rle} rle @param {number} x @param {number} y */
export function covers(rle, x, y) {
  const [height, width] = rle.size;
  if (!(x >= 0 && y >= 0 && x < width && y < height)) return false;
  const place = Math.floor(x) * height + Math.floor(y);
  const runs = runsOf(rle);
  for (let index = 0, end = 0; index < runs.length; index++) {
    end += runs[index];
    if (place < end) return (index & 1) === 1;
  }
  return false;
}

/**
 * The part of a mask that is set, row by row, reduced by whole pixels: what drawing needs.
 *
 * @param {Rle} rle
 * @param {number} limit the longest side that the whole mask may have; larger ones are sampled
 * @returns {{bits: Uint8Array, x: number, y: number, width: number, height: number, scale: number} | null} bytes of a
 *   window at (x, y) of the reduced mask, whose pixels are `scale` of the mask's; null if nothing is set
 */
export function crop(rle, limit) {
  const [rows] = rle.size;
  const scale = Math.max(1, Math.ceil(Math.max(...rle.size) / limit));
  const middle = scale >> 1; // of a reduced pixel: the one that is looked at
  /** @type {[number, number, number][]} */
  const strokes = []; // column, first row, row after the last, in reduced pixels
  let [left, top, right, bottom, at] = [Infinity, Infinity, 0, 0, 0];
  runsOf(rle).forEach((run, index) => {
    const end = at + run;
    while (index & 1 && at < end) {
      const column = Math.floor(at / rows);
      const stop = Math.min(end, (column + 1) * rows);
      const [x, y0] = [(column - middle) / scale, Math.ceil((at - column * rows - middle) / scale)];
      const y1 = Math.ceil((stop - column * rows - middle) / scale);
      if (Number.isInteger(x) && y1 > y0) {
        strokes.push([x, y0, y1]);
        [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
        [top, bottom] = [Math.min(top, y0), Math.max(bottom, y1)];
      }
      at = stop;
    }
    at = end;
  });
  if (!strokes.length) return null;
  const [width, height] = [right - left, bottom - top];
  const bits = new Uint8Array(width * height);
  for (const [x, y0, y1] of strokes) {
    for (let y = y0; y < y1; y++) bits[(y - top) * width + x - left] = 1;
  }
  return { bits, x: left, y: top, width, height, scale };
}
