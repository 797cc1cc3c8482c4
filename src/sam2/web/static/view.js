/**
 * Where the picture lies on the stage: `screen = picture * scale + offset`, in CSS pixels. Pure arithmetic.
 *
 * @typedef {{x: number, y: number}} Spot
 * @typedef {{width: number, height: number}} Size
 */

const MARGIN = 12;
const MOST = 40; // CSS pixels that a pixel of the picture may have

export class View {
  /** @type {Size} */ stage = { width: 1, height: 1 };
  /** @type {Size} */ picture = { width: 1, height: 1 };
  scale = 1;
  x = 0;
  y = 0;
  fitted = true;

  /** The scale at which the whole picture is seen. */
  get least() {
    const room = (/** @type {number} */ side) => Math.max(side - 2 * MARGIN, side / 2);
    const { width, height } = this.picture;
    return Math.min(room(this.stage.width) / width, room(this.stage.height) / height, MOST);
  }

  /** The stage has another size: what was in its middle stays there. @param {Size} stage */
  resize(stage) {
    const middle = this.toPicture({ x: this.stage.width / 2, y: this.stage.height / 2 });
    this.stage = stage;
    if (this.fitted) this.fit();
    else this.#place(middle, { x: stage.width / 2, y: stage.height / 2 });
  }

  /** Another picture: fitted if its size is another one, else seen as the last one was. @param {Size} picture */
  show(picture) {
    const same = picture.width === this.picture.width && picture.height === this.picture.height;
    this.picture = picture;
    if (!same) this.fit();
  }

  /** The whole picture, in the middle. */
  fit() {
    this.fitted = true;
    this.scale = this.least;
    this.x = (this.stage.width - this.picture.width * this.scale) / 2;
    this.y = (this.stage.height - this.picture.height * this.scale) / 2;
  }

  /** @param {Spot} spot on the stage @returns {Spot} in pixels of the picture */
  toPicture({ x, y }) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /** @param {Spot} spot in pixels of the picture @returns {Spot} on the stage */
  toStage({ x, y }) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  /** Zoom by a factor; what lies under `spot` stays there. @param {number} factor @param {Spot} [spot] */
  zoom(factor, spot = { x: this.stage.width / 2, y: this.stage.height / 2 }) {
    const held = this.toPicture(spot);
    const least = this.least;
    this.scale = Math.min(Math.max(this.scale * factor, least), Math.max(MOST, least));
    this.fitted = this.scale === least;
    if (this.fitted) this.fit();
    else this.#place(held, spot);
  }

  /** @param {number} dx @param {number} dy in CSS pixels */
  pan(dx, dy) {
    this.fitted = false;
    this.x += dx;
    this.y += dy;
    this.#keep();
  }

  /** @param {Spot} held in pixels of the picture @param {Spot} spot where it is to lie on the stage */
  #place(held, spot) {
    this.x = spot.x - held.x * this.scale;
    this.y = spot.y - held.y * this.scale;
    this.#keep();
  }

  /** Some of the picture always stays in sight: the middle of the stage, or of the picture, lies in the other. */
  #keep() {
    const { stage, picture, scale } = this;
    this.x = Math.min(Math.max(this.x, stage.width / 2 - picture.width * scale), stage.width / 2);
    this.y = Math.min(Math.max(this.y, stage.height / 2 - picture.height * scale), stage.height / 2);
  }
}

/** Whether a spot lies on the picture. @param {Spot} spot @param {Size} picture */
export function inside({ x, y }, { width, height }) {
  return x >= 0 && y >= 0 && x <= width && y <= height;
}

/** The nearest spot on the picture, to a hundredth of a pixel. @param {Spot} spot @param {Size} picture @returns {Spot} */
export function clamp({ x, y }, { width, height }) {
  const side = (/** @type {number} */ value, /** @type {number} */ most) =>
    Math.round(Math.min(Math.max(value, 0), most) * 100) / 100;
  return { x: side(x, width), y: side(y, height) };
}
