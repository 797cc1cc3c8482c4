/**
 * Drawing: the picture with its masks below, prompts and what the hand is doing above. All in CSS pixels or pixels of
 * the picture; lines have one width on the screen whatever the zoom.
 *
 * @typedef {import("./view.js").View} View
 * @typedef {import("./view.js").Spot} Spot
 * @typedef {import("./rle.js").Rle} Rle
 * @typedef {CanvasRenderingContext2D} Context
 * @typedef {{mask: Rle | null, colour: string, selected: boolean, drawn?: OffscreenCanvas | null}} Layer
 * @typedef {{points: readonly {x: number, y: number, label: 0 | 1}[], box: readonly number[] | null, main: boolean,
 *   colour: string}} Marks
 */

import { shapeOf } from "./masks.js";

const [GREEN, RED, DARK] = ["#15a34a", "#e11d48", "rgba(0, 0, 0, 0.6)"];
const PIXELS = 3; // from this scale on, pixels and their edges are shown as they are

/** @param {HTMLCanvasElement} canvas @param {View} view @returns {Context} cleared, in pixels of the picture */
export function begin(canvas, view) {
  const context = /** @type {Context} */ (canvas.getContext("2d"));
  const ratio = canvas.width / view.stage.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(view.scale * ratio, 0, 0, view.scale * ratio, view.x * ratio, view.y * ratio);
  context.lineJoin = context.lineCap = "round";
  return context;
}

/** @param {Context} context @param {View} view @param {ImageBitmap} bitmap */
export function picture(context, view, bitmap) {
  const { width, height } = view.picture;
  context.imageSmoothingEnabled = (view.scale * width) / bitmap.width < PIXELS || bitmap.width < width / 2;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
}

/** @param {Context} context @param {View} view @param {Layer[]} layers @param {number} opacity of fills, 0..1 */
export function masks(context, view, layers, opacity) {
  context.imageSmoothingEnabled = view.scale < PIXELS;
  const chosen = layers.some(({ selected }) => selected);
  for (const { mask, colour, selected, drawn } of layers) {
    context.globalAlpha = opacity * (chosen && !selected ? 0.6 : 1);
    if (drawn) {
      context.drawImage(drawn, 0, 0, view.picture.width, view.picture.height);
      continue;
    }
    const shape = mask && shapeOf(mask, colour);
    if (!shape?.bitmap) continue;
    context.drawImage(shape.bitmap, shape.x, shape.y, shape.width, shape.height);
    context.globalAlpha = 1;
    const path = view.scale < PIXELS ? shape.smooth : shape.exact;
    line(context, view, path, { colour, width: selected ? 2.5 : 1.25, halo: selected ? DARK : "rgba(0, 0, 0, 0.35)" });
  }
  context.globalAlpha = 1;
}

/** @param {Context} context @param {View} view @param {Rle} mask @param {{colour: string, phase: number}} look */
export function preview(context, view, mask, { colour, phase }) {
  const shape = shapeOf(mask, colour);
  if (!shape.bitmap) return;
  context.globalAlpha = 0.28;
  context.imageSmoothingEnabled = view.scale < PIXELS;
  context.drawImage(shape.bitmap, shape.x, shape.y, shape.width, shape.height);
  context.globalAlpha = 1;
  context.lineDashOffset = -phase / view.scale;
  const path = view.scale < PIXELS ? shape.smooth : shape.exact;
  line(context, view, path, { colour: "#ffffff", width: 1.5, halo: DARK, dash: [5, 4] });
  context.lineDashOffset = 0;
}

/** @param {Context} context @param {View} view @param {Marks} marks @param {number} pulse 0..1, below 0 at rest */
export function marks(context, view, { points, box, main, colour }, pulse) {
  if (box) {
    const path = new Path2D();
    path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    line(context, view, path, { colour, width: main ? 2 : 1, halo: DARK });
  }
  points.forEach(({ x, y, label }, index) => {
    const radius = (main ? 7.5 : 4) / view.scale;
    if (main && pulse >= 0 && index === points.length - 1) {
      context.globalAlpha = 1 - pulse;
      line(context, view, round({ x, y }, radius * (1 + 1.6 * pulse)), { colour: "#ffffff", width: 2, halo: DARK });
      context.globalAlpha = 1;
    }
    context.fillStyle = label ? GREEN : RED;
    context.fill(round({ x, y }, radius));
    line(context, view, round({ x, y }, radius), { colour: main ? "#ffffff" : colour, width: main ? 1.75 : 1 });
    const sign = new Path2D();
    sign.moveTo(x - radius * 0.45, y);
    sign.lineTo(x + radius * 0.45, y);
    if (label) sign.moveTo(x, y - radius * 0.45);
    if (label) sign.lineTo(x, y + radius * 0.45);
    if (main) line(context, view, sign, { colour: "#ffffff", width: 2 });
  });
}

/** A rectangle that is being drawn. @param {Context} context @param {View} view @param {readonly number[]} box */
export function rubber(context, view, [x0, y0, x1, y1]) {
  const path = new Path2D();
  path.rect(x0, y0, x1 - x0, y1 - y0);
  context.fillStyle = "rgba(255, 255, 255, 0.14)";
  context.fill(path);
  line(context, view, path, { colour: "#ffffff", width: 1.5, halo: DARK, dash: [6, 4] });
}

/** The brush. @param {Context} context @param {View} view @param {Spot} spot @param {number} diameter CSS pixels */
export function ring(context, view, spot, diameter) {
  line(context, view, round(spot, diameter / 2 / view.scale), { colour: "#ffffff", width: 1.5, halo: DARK });
}

/** The crosshair of the keyboard. @param {Context} context @param {View} view @param {Spot} spot */
export function crosshair(context, view, { x, y }) {
  const path = new Path2D();
  const [near, far] = [5 / view.scale, 18 / view.scale];
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    path.moveTo(x + dx * near, y + dy * near);
    path.lineTo(x + dx * far, y + dy * far);
  }
  line(context, view, path, { colour: "#ffffff", width: 2, halo: DARK });
}

/** @param {Spot} spot @param {number} radius */
function round({ x, y }, radius) {
  const path = new Path2D();
  path.arc(x, y, radius, 0, 2 * Math.PI);
  return path;
}

/**
 * @param {Context} context @param {View} view @param {Path2D} path
 * @param {{colour: string, width: number, halo?: string, dash?: number[]}} look
 */
function line(context, view, path, { colour, width, halo, dash = [] }) {
  if (halo) {
    context.lineWidth = (width + 1.75) / view.scale;
    context.strokeStyle = halo;
    context.stroke(path);
  }
  context.setLineDash(dash.map((length) => length / view.scale));
  context.lineWidth = width / view.scale;
  context.strokeStyle = colour;
  context.stroke(path);
  context.setLineDash([]);
}
