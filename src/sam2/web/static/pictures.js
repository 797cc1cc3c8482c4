/**
 * Pictures of frames: a small one at once while frames fly by, the sharp one when they rest; neighbours ahead of time.
 *
 * @typedef {{frame: number, bitmap: ImageBitmap, sharp: boolean}} Picture
 */

const STRIP = 320; // pixels, longest side: what the server has ready for every frame of a video
const SETTLE = 140; // ms
const [KEEP_SHARP, KEEP_STRIP] = [6, 3000]; // small ones are kept compressed: thousands fit
const [AHEAD, AT_ONCE] = [48, 2];

export class Pictures {
  frame = -1;
  direction = 1;
  busy = 0;
  timer = 0;
  /** @type {Map<number, Promise<ImageBitmap>>} */ sharp = new Map();
  /** @type {Map<number, Promise<Blob>>} */ strips = new Map();

  /**
   * @param {(frame: number, size?: number) => string} address of a frame's picture
   * @param {{frames: number, video: boolean}} source
   * @param {(picture: Picture) => void} arrived
   * @param {(error: unknown) => void} failed
   */
  constructor(address, source, arrived, failed) {
    this.address = address;
    this.source = source;
    this.arrived = arrived;
    this.failed = failed;
  }

  /** Show a frame as soon as may be. @param {number} frame @param {boolean} hurry whether more will follow at once */
  show(frame, hurry) {
    this.direction = frame < this.frame ? -1 : 1;
    this.frame = frame;
    clearTimeout(this.timer);
    const ready = this.sharp.has(frame);
    if (!ready && (hurry || this.source.video)) void this.#small(frame);
    this.timer = window.setTimeout(() => void this.#rest(frame), hurry && !ready ? SETTLE : 0);
  }

  /** The frame in more pixels, for one who has zoomed in. @param {number} size longest side, pixels */
  async closer(size) {
    const { frame } = this;
    const bitmap = await createImageBitmap(await fetchPicture(this.address(frame, size)));
    if (frame === this.frame) this.arrived({ frame, bitmap, sharp: true });
  }

  close() {
    clearTimeout(this.timer);
    this.frame = -1;
  }

  /** @param {number} frame */
  async #small(frame) {
    try {
      const bitmap = await createImageBitmap(await this.#strip(frame));
      if (this.frame >= 0) this.arrived({ frame, bitmap, sharp: false });
    } catch {
      // the sharp one follows, and says what is wrong
    }
    this.#ahead();
  }

  /** A frame is looked at: its sharp picture, then what is likely to be asked for next. @param {number} frame */
  async #rest(frame) {
    try {
      const bitmap = await this.#sharp(frame);
      if (frame !== this.frame) return;
      this.arrived({ frame, bitmap, sharp: true });
      const next = frame + this.direction;
      if (!this.source.video && this.#has(next)) await this.#sharp(next);
    } catch (error) {
      if (frame === this.frame) this.failed(error);
    }
    this.#ahead();
  }

  /** Fetch small pictures that lie ahead, nearest first, a few at once. */
  #ahead() {
    for (let step = 1; this.source.video && step <= AHEAD && this.busy < AT_ONCE; step++) {
      const frame = this.frame + step * this.direction;
      if (!this.#has(frame) || this.strips.has(frame)) continue;
      this.busy++;
      const more = () => (this.busy--, this.#ahead());
      this.#strip(frame).then(more, () => this.busy--);
    }
  }

  /** @param {number} frame */
  #sharp(frame) {
    const load = async () => createImageBitmap(await fetchPicture(this.address(frame)));
    return once(this.sharp, frame, load, KEEP_SHARP);
  }

  /** @param {number} frame */
  #strip(frame) {
    return once(this.strips, frame, () => fetchPicture(this.address(frame, STRIP)), KEEP_STRIP);
  }

  /** @param {number} frame */
  #has(frame) {
    return this.frame >= 0 && frame >= 0 && frame < this.source.frames;
  }
}

/**
 * What is kept, or on its way, or made now; what was used longest ago is forgotten, and so is what fails.
 *
 * @template T
 * @param {Map<number, Promise<T>>} kept
 * @param {number} frame
 * @param {() => Promise<T>} make
 * @param {number} most
 */
function once(kept, frame, make, most) {
  const value = kept.get(frame) ?? make();
  kept.delete(frame);
  kept.set(frame, value);
  value.catch(() => kept.get(frame) === value && kept.delete(frame));
  for (const oldest of kept.keys()) if (kept.size > most) kept.delete(oldest);
  return value;
}

/** @param {string} address */
async function fetchPicture(address) {
  const answer = await fetch(address);
  if (answer.ok) return answer.blob();
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The picture did not come (${answer.status})`);
}
