/**
 * Masks as they are drawn: a bitmap of the part that is set, made once a mask and colour, and its outline as a path,
 * so that zooming costs a draw and edges stay crisp at any scale.
 *
 * @typedef {import("./rle.js").Rle} Rle
 * @typedef {{bitmap: OffscreenCanvas | null, colour: string, x: number, y: number, width: number, height: number,
 *   exact: Path2D, smooth: Path2D}} Shape in pixels of the picture; bitmap is null if nothing is set
 */

import { crop } from "./rle.js";

const LIMIT = 2048;
const TOLERANCE = 0.3; // pixels that the smooth outline may be off
const STAIR = 6; // pixels, the longest step that counts as part of a slope

/** @type {WeakMap<Rle, Shape>} */
const shapes = new WeakMap();

/** The shape of a mask, made when it is first asked for. @param {Rle} rle @param {string} colour @returns {Shape} */
export function shapeOf(rle, colour) {
  let shape = shapes.get(rle);
  if (shape?.colour === colour) return shape;
  const part = crop(rle, LIMIT);
  if (!part) return { bitmap: null, colour, x: 0, y: 0, width: 0, height: 0, exact: new Path2D(), smooth: new Path2D() };
  const { bits, width, height, scale } = part;
  const [x, y] = [part.x * scale, part.y * scale];
  const bitmap = tint(bits, { width, height }, colour);
  if (shape) shape = { ...shape, bitmap, colour };
  else {
    const [exact, smooth] = [new Path2D(), new Path2D()];
    for (const ring of rings(bits, width, height)) {
      draw(exact, ring, { x, y, scale });
      draw(smooth, simplify(soften(ring), TOLERANCE), { x, y, scale });
    }
    shape = { bitmap, colour, x, y, width: width * scale, height: height * scale, exact, smooth };
  }
  shapes.set(rle, shape);
  return shape;
}

/** @param {Uint8Array} bits @param {{width: number, height: number}} size @param {string} colour #rrggbb */
function tint(bits, { width, height }, colour) {
  const bitmap = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (bitmap.getContext("2d"));
  const image = context.createImageData(width, height);
  const value = parseInt(colour.slice(1), 16);
  const bytes = Uint8ClampedArray.of(value >> 16, (value >> 8) & 255, value & 255, 255);
  const pixel = new Uint32Array(bytes.buffer)[0];
  const pixels = new Uint32Array(image.data.buffer);
  bits.forEach((bit, at) => {
    if (bit) pixels[at] = pixel;
  });
  context.putImageData(image, 0, 0);
  return bitmap;
}

/** @param {Path2D} path @param {number[]} ring x, y, x, y, ... @param {{x: number, y: number, scale: number}} place */
function draw(path, ring, { x, y, scale }) {
  path.moveTo(x + ring[0] * scale, y + ring[1] * scale);
  for (let at = 2; at < ring.length; at += 2) path.lineTo(x + ring[at] * scale, y + ring[at + 1] * scale);
  path.closePath();
}

/**
 * The outlines of a mask along the edges of its pixels: rings of corners x, y, x, y, ..., outer ones and holes.
 *
 * Walks with the mask on the right-hand side. Pixels that touch at a corner belong to two rings.
 *
 * @param {Uint8Array} bits row by row
 * @param {number} width
 * @param {number} height
 * @returns {number[][]}
 */
export function rings(bits, width, height) {
  const set = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height && bits[y * width + x] === 1;
  const seen = new Uint8Array(width * height); // pixels whose upper edge is on a ring already
  const found = [];
  for (let start = 0; start < bits.length; start++) {
    const [x0, y0] = [start % width, Math.floor(start / width)];
    if (!bits[start] || seen[start] || set(x0, y0 - 1)) continue;
    const ring = [];
    let [x, y, dx, dy] = [x0, y0, 1, 0];
    do {
      if (dx === 1) seen[y * width + x] = 1;
      [x, y] = [x + dx, y + dy];
      // the pixels ahead, on the right and on the left of the way
      const right = set(x + (dx - dy - 1) / 2, y + (dy + dx - 1) / 2);
      const left = set(x + (dx + dy - 1) / 2, y + (dy - dx - 1) / 2);
      if (right && !left) continue;
      ring.push(x, y);
      [dx, dy] = right ? [dy, -dx] : [-dy, dx];
    } while (x !== x0 || y !== y0 || dx !== 1);
    found.push(ring);
  }
  return found;
}

/** Stairs become slopes: the middles of short edges instead of their ends. @param {number[]} ring @returns {number[]} */
export function soften(ring) {
  return ring.flatMap((x, at) => {
    if (at & 1) return [];
    const [y, ex, ey] = [ring[at + 1], ring[(at + 2) % ring.length] - x, ring[(at + 3) % ring.length] - ring[at + 1]];
    const length = Math.abs(ex) + Math.abs(ey);
    const shares = length <= STAIR ? [0.5] : [0.5 / length, 1 - 0.5 / length];
    return shares.flatMap((share) => [x + ex * share, y + ey * share]);
  });
}

/**
 * Fewer corners, none of those left out further than `tolerance` from the line (Douglas and Peucker).
 *
 * @param {number[]} ring
 * @param {number} tolerance
 * @returns {number[]}
 */
export function simplify(ring, tolerance) {
  const count = ring.length / 2;
  if (count < 5) return ring;
  const keep = new Uint8Array(count + 1);
  keep[0] = keep[count >> 1] = 1; // a ring has no ends: two of its corners stand in for them
  const spans = [[0, count >> 1], [count >> 1, count]];
  for (let span = spans.pop(); span; span = spans.pop()) {
    const [first, last] = span;
    const [ax, ay] = [ring[2 * first], ring[2 * first + 1]];
    const [ex, ey] = [ring[(2 * last) % ring.length] - ax, ring[(2 * last + 1) % ring.length] - ay];
    const length = Math.hypot(ex, ey);
    let [most, place] = [tolerance, 0];
    for (let at = first + 1; at < last; at++) {
      const [px, py] = [ring[2 * at] - ax, ring[2 * at + 1] - ay];
      const off = length ? Math.abs(px * ey - py * ex) / length : Math.hypot(px, py);
      if (off > most) [most, place] = [off, at];
    }
    if (place) {
      keep[place] = 1;
      spans.push([first, place], [place, last]);
    }
  }
  return ring.filter((_, at) => keep[at >> 1]);
}
