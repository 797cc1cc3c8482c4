/**
 * Pictures of frames: a small one at once while frames fly by, the sharp one when they rest; neighbours ahead of time.
 *
 * @typedef {{frame: number, bitmap: ImageBitmap, sharp: boolean}} Picture
 */

const STRIP = 320; // pixels, longest side: what the server has ready for every frame of a video
const SETTLE = 140; // ms
const [KEEP_SHARP, KEEP_STRIP] = [6, 3000];
const [AHEAD, AT_ONCE] = [48, 2];

export class Pictures {
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
    this.frame = -1;
    this.direction = 1;
    /** @type {Map<number, ImageBitmap>} */ this.sharp = new Map();
    /** @type {Map<number, Blob>} */ this.strips = new Map(); // compressed: thousands fit
    /** @type {Map<number, AbortController>} */ this.loading = new Map();
    this.busy = 0;
    this.timer = 0;
  }

  /** Show a frame as soon as may be. @param {number} frame @param {boolean} hurry whether more will follow at once */
  show(frame, hurry) {
    this.direction = frame < this.frame ? -1 : 1;
    this.frame = frame;
    clearTimeout(this.timer);
    for (const [other, loading] of this.loading) if (other !== frame) loading.abort();
    const bitmap = this.sharp.get(frame);
    if (bitmap) {
      this.#keep(this.sharp, frame, bitmap, KEEP_SHARP);
      this.arrived({ frame, bitmap, sharp: true });
    } else if (hurry || this.source.video) void this.#strip(frame);
    this.timer = window.setTimeout(() => void this.#rest(frame), hurry ? SETTLE : 0);
  }

  /** Give a picture that has come already once more, for now it is known what it belongs to. @param {number} frame */
  again(frame) {
    const bitmap = this.sharp.get(frame);
    if (bitmap) this.arrived({ frame, bitmap, sharp: true });
  }

  close() {
    clearTimeout(this.timer);
    this.frame = -1;
    for (const loading of this.loading.values()) loading.abort();
    for (const bitmap of this.sharp.values()) bitmap.close();
    this.sharp.clear();
    this.strips.clear();
  }

  /** A frame is looked at: its sharp picture, then what is likely to be asked for next. @param {number} frame */
  async #rest(frame) {
    try {
      const bitmap = this.sharp.get(frame) ?? (await this.#load(frame));
      if (!bitmap || frame !== this.frame) return;
      this.arrived({ frame, bitmap, sharp: true });
      const next = frame + this.direction;
      if (!this.source.video && this.#has(next) && !this.sharp.has(next)) await this.#load(next);
    } catch (error) {
      if (frame === this.frame) this.failed(error);
    }
    if (this.source.video) this.#ahead();
  }

  /** @param {number} frame @returns {Promise<ImageBitmap | null>} null if nobody waits for it any more */
  async #load(frame) {
    const abort = new AbortController();
    this.loading.set(frame, abort);
    try {
      const bitmap = await createImageBitmap(await fetchPicture(this.address(frame), abort.signal));
      this.#keep(this.sharp, frame, bitmap, KEEP_SHARP);
      return bitmap;
    } catch (error) {
      if (abort.signal.aborted) return null;
      throw error;
    } finally {
      if (this.loading.get(frame) === abort) this.loading.delete(frame);
    }
  }

  /** @param {number} frame */
  async #strip(frame) {
    try {
      const blob = this.strips.get(frame) ?? (await this.#fetchStrip(frame));
      const bitmap = await createImageBitmap(blob);
      if (this.frame < 0 || this.sharp.has(frame)) bitmap.close();
      else this.arrived({ frame, bitmap, sharp: false });
    } catch {
      // the sharp one follows, and says what is wrong
    }
    this.#ahead();
  }

  /** @param {number} frame */
  async #fetchStrip(frame) {
    const blob = await fetchPicture(this.address(frame, STRIP));
    this.#keep(this.strips, frame, blob, KEEP_STRIP);
    return blob;
  }

  /** Fetch small pictures that lie ahead, nearest first, a few at once. */
  #ahead() {
    if (!this.source.video) return;
    for (let step = 1; step <= AHEAD && this.busy < AT_ONCE; step++) {
      const frame = this.frame + step * this.direction;
      if (!this.#has(frame) || this.strips.has(frame)) continue;
      this.busy++;
      this.strips.set(frame, EMPTY); // on its way
      this.#fetchStrip(frame)
        .then(() => true, () => void this.strips.delete(frame))
        .then((came) => (this.busy--, came && this.#ahead()));
    }
  }

  /** @param {number} frame */
  #has(frame) {
    return this.frame >= 0 && frame >= 0 && frame < this.source.frames;
  }

  /** Put what was used last at the end, and forget from the front. @template T @param {Map<number, T>} kept
   * @param {number} frame @param {T} value @param {number} most */
  #keep(kept, frame, value, most) {
    kept.delete(frame);
    kept.set(frame, value);
    for (const [oldest] of kept) {
      if (kept.size <= most) break;
      kept.delete(oldest);
    }
  }
}

const EMPTY = new Blob();

/** @param {string} address @param {AbortSignal} [signal] */
async function fetchPicture(address, signal) {
  const answer = await fetch(address, { signal });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail ?? `The picture did not come (${answer.status})`);
  }
  return answer.blob();
}
