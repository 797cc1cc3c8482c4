/**
 * Brush and eraser: a stroke changes bytes of the mask, column by column as run lengths want them, and a canvas that
 * shows it at once.
 *
 * @typedef {import("./view.js").Spot} Spot
 * @typedef {import("./rle.js").Rle} Rle
 */

import { decode, encode } from "./rle.js";
import { shapeOf } from "./masks.js";

const LIMIT = 2048;

export class Stroke {
  /**
   * @param {Rle | null} mask as it is now
   * @param {{width: number, height: number, colour: string, erase: boolean}} look
   */
  constructor(mask, { width, height, colour, erase }) {
    this.size = /** @type {[number, number]} */ ([height, width]);
    this.bits = mask ? decode(mask) : new Uint8Array(width * height);
    this.erase = erase;
    this.reduced = Math.min(1, LIMIT / Math.max(width, height));
    this.canvas = new OffscreenCanvas(Math.ceil(width * this.reduced), Math.ceil(height * this.reduced));
    this.context = /** @type {OffscreenCanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.context.scale(this.reduced, this.reduced);
    const shape = mask && shapeOf(mask, colour);
    if (shape?.bitmap) this.context.drawImage(shape.bitmap, shape.x, shape.y, shape.width, shape.height);
    this.context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    this.context.strokeStyle = colour;
    this.context.lineCap = "round";
    /** @type {Spot | null} */ this.last = null;
  }

  /** Draw on to a spot. @param {Spot} spot @param {number} radius in pixels of the picture */
  to(spot, radius) {
    const from = this.last ?? spot;
    this.last = spot;
    this.context.lineWidth = 2 * radius;
    this.context.beginPath();
    this.context.moveTo(from.x, from.y);
    this.context.lineTo(spot.x, spot.y);
    this.context.stroke();
    const steps = Math.ceil(Math.hypot(spot.x - from.x, spot.y - from.y) / Math.max(0.5, radius / 5));
    for (let step = steps ? 1 : 0; step <= steps; step++) {
      const share = steps ? step / steps : 0;
      this.#stamp(from.x + (spot.x - from.x) * share, from.y + (spot.y - from.y) * share, radius);
    }
  }

  /** @returns {Rle} the mask as it is drawn now */
  mask() {
    return encode(this.bits, this.size);
  }

  /** A disk: the pixels whose middles lie in it. @param {number} x @param {number} y @param {number} radius */
  #stamp(x, y, radius) {
    const [height, width] = this.size;
    for (let column = Math.max(0, Math.ceil(x - radius - 0.5)); column < width && column + 0.5 <= x + radius; column++) {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (column + 0.5 - x) ** 2));
      const [top, end] = [Math.max(0, Math.ceil(y - half - 0.5)), Math.min(height, Math.floor(y + half + 0.5))];
      if (end > top) this.bits.fill(this.erase ? 0 : 1, column * height + top, column * height + end);
    }
  }
}
