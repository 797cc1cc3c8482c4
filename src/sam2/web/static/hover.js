/** What a click here would give: asked for when the mouse rests a moment, one question at a time, old answers dropped. */

const REST = 40; // ms

/**
 * @typedef {{frame: number, point: import("./types").Point}} Wish
 * @typedef {import("./rle.js").Rle} Rle
 */

export class Hover {
  /** @type {Rle | null} */ mask = null;
  /** @type {Wish | null} */ wish = null;
  asking = false;
  timer = 0;

  /**
   * @param {(wish: Wish) => Promise<Rle | null>} ask
   * @param {() => void} changed
   */
  constructor(ask, changed) {
    this.ask = ask;
    this.changed = changed;
  }

  /** The mouse is at a spot. @param {Wish} wish */
  at(wish) {
    this.wish = wish;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.#next(), REST);
  }

  /** The mouse is elsewhere, or the hand is busy. @param {boolean} [keep] what is seen, until the answer to a click */
  off(keep = false) {
    clearTimeout(this.timer);
    this.wish = null;
    if (!this.mask || keep) return;
    this.mask = null;
    this.changed();
  }

  async #next() {
    const wish = this.wish;
    if (this.asking || !wish) return;
    this.asking = true;
    const mask = await this.ask(wish).catch(() => null); // a click would say what is wrong
    this.asking = false;
    if (this.wish?.frame === wish.frame) {
      this.mask = mask;
      this.changed();
    }
    if (this.wish && this.wish !== wish) void this.#next();
  }
}
