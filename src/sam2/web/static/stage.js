/**
 * The stage: the picture of the frame with its masks on one canvas, prompts and what the hand is doing on another above
 * it. Masks are always those of the frame whose picture is seen.
 *
 * @typedef {import("./pictures.js").Picture} Picture
 * @typedef {import("./types").Store} Store
 * @typedef {typeof import("./api.js").api} Api
 * @typedef {{box: [number, number, number, number] | null, ring: Spot | null, cross: Spot | null,
 *   ghost: import("./types").Point | null, moved: {index: number, spot: Spot} | null,
 *   stroke: import("./brush.js").Stroke | null}} Hand what it is doing
 * @typedef {import("./view.js").Spot} Spot
 */

import { Edits } from "./edits.js";
import { Hover } from "./hover.js";
import * as paint from "./paint.js";
import { Pictures } from "./pictures.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

const ZOOM = 1.35;
const [BEFORE, AFTER, REACH] = [20, 60, 15]; // frames whose masks are fetched ahead, and when to fetch again
const BREATH = 900; // ms, a pulse while an answer is awaited
const HURRY = 250; // ms between frames that fly by
const [CLOSE, LOOK] = [8192, 250]; // pixels that may be asked for, ms that a closer look lasts before they are
const PLAIN = "#3b82f6"; // of an object that does not exist yet
const NONE = { project: "", start: 0, stop: 0 };

export class Stage {
  view = new View();
  /** @type {Hand} */ hand = { box: null, ring: null, cross: null, ghost: null, moved: null, stroke: null };
  /** @type {Picture | null} */ shown = null;
  /** @type {Pictures | null} */ pictures = null;
  /** @type {string | null} */ opened = null;
  dirty = false; // whether the lower canvas is to be drawn again
  waiting = false;
  moved = 0; // when the frame changed
  asked = 0; // when something was said of an object
  closing = 0;
  fetched = NONE;

  /**
   * @param {HTMLElement} host
   * @param {Store} store
   * @param {Api} api
   * @param {import("./undo.js").UndoStack} undo
   * @param {(text: string, kind?: "info" | "error") => void} say
   */
  constructor(host, store, api, undo, say) {
    this.host = host;
    this.store = store;
    this.api = api;
    this.say = say;
    this.below = addCanvas(host);
    this.above = addCanvas(host);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.edits = new Edits(store, api, undo, say);
    this.hover = new Hover((wish) => this.#preview(wish), () => this.draw());
    this.tools = new Tools(this);
    store.on(["project"], () => this.#open());
    store.on(["frame"], () => this.#go());
    store.on(["job"], () => this.#passed());
    store.on(["frameState", "masksByFrame", "project", "objectId"], () => this.#known());
    store.on(["opacity", "tool", "brushSize", "negative"], () => this.turn(() => {}));
    new ResizeObserver(() => this.#resize()).observe(host);
    this.#open();
  }

  /** The frame that is seen, -1 if none is. */
  get frame() {
    return this.shown?.frame ?? -1;
  }

  zoomIn = () => this.turn(() => this.view.zoom(ZOOM));
  zoomOut = () => this.turn(() => this.view.zoom(1 / ZOOM));
  fit = () => this.turn(() => this.view.fit());
  cancel = () => this.tools.cancel();

  /** Change how things are seen. @param {() => void} change */
  turn(change) {
    change();
    this.tools.look();
    this.draw(true);
    clearTimeout(this.closing);
    this.closing = window.setTimeout(() => this.#closer(), LOOK);
  }

  /** Ask for more pixels of the picture if it is seen larger than it came. */
  #closer() {
    const { shown, view, tools } = this;
    if (!shown?.sharp || tools.gesture) return;
    const size = Math.min(CLOSE, Math.max(view.picture.width, view.picture.height));
    const has = Math.max(shown.bitmap.width, shown.bitmap.height);
    if (has < size && view.scale * devicePixelRatio * size > 1.1 * has) void this.pictures?.closer(size).catch(() => {});
  }

  /** Draw before the screen is refreshed next. @param {boolean} [below] picture and masks, too */
  draw(below = false) {
    this.dirty ||= below;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now) => this.#render(now));
  }

  /** @param {number} now */
  #render(now) {
    this.waiting = false;
    const { hover, edits, shown } = this;
    const objects = (shown && edits.frame(shown.frame)?.objects) ?? [];
    const all = new Map(this.store.get().project?.objects.map((object) => [object.id, object]));
    const seen = objects.flatMap((known) => {
      const object = all.get(known.object_id);
      return object?.visible ? [{ ...known, colour: object.colour }] : [];
    });
    if (this.dirty) this.#below(seen);
    this.dirty = false;
    this.#above(seen, now);
    if ((hover.mask || edits.busy) && !this.calm.matches) this.draw();
    this.host.setAttribute("aria-busy", String(edits.busy));
  }

  /** Picture and masks. @param {(import("./types").FrameObject & {colour: string})[]} seen */
  #below(seen) {
    const { view, hand, shown } = this;
    const { objectId, opacity } = this.store.get();
    const context = paint.begin(this.below, view);
    if (shown) paint.picture(context, view, shown.bitmap);
    /** @type {paint.Layer[]} */
    const layers = seen.map(({ object_id, mask, colour }) => ({ mask, colour, selected: object_id === objectId }));
    layers.sort((one, other) => Number(one.selected) - Number(other.selected));
    if (hand.stroke) {
      if (layers.at(-1)?.selected) layers.pop();
      layers.push({ mask: null, colour: PLAIN, selected: true, drawn: hand.stroke.canvas });
    }
    paint.masks(context, view, layers, opacity);
  }

  /** Prompts, and what the hand is doing. @param {(import("./types").FrameObject & {colour: string})[]} seen
   * @param {number} now */
  #above(seen, now) {
    const { view, hand, hover, edits, calm } = this;
    const chosen = edits.selected(this.frame);
    const context = paint.begin(this.above, view);
    const colour = chosen?.colour ?? PLAIN;
    if (hover.mask) paint.preview(context, view, hover.mask, { colour, phase: calm.matches ? 0 : (now / 60) % 9 });
    for (const { object_id, prompts, colour } of seen) {
      if (!prompts) continue;
      const main = object_id === chosen?.id;
      const points = [...prompts.points];
      if (main && hand.moved) points[hand.moved.index] = { ...points[hand.moved.index], ...hand.moved.spot };
      const pulse = !edits.busy ? -1 : calm.matches ? 0.4 : ((now - this.asked) % BREATH) / BREATH;
      paint.marks(context, view, { points, box: prompts.box, main, colour }, pulse);
    }
    if (hand.ghost) paint.marks(context, view, { points: [hand.ghost], box: null, main: true, colour }, -1);
    if (hand.box) paint.rubber(context, view, hand.box);
    if (hand.ring) paint.ring(context, view, hand.ring, this.store.get().brushSize);
    if (hand.cross) paint.crosshair(context, view, hand.cross);
  }

  #resize() {
    const { width, height } = this.host.getBoundingClientRect();
    if (!width || !height) return;
    for (const canvas of [this.below, this.above]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.view.resize({ width, height });
    this.dirty = true;
    this.#render(performance.now()); // at once, or it flickers
  }

  /** @param {import("./hover.js").Wish} wish */
  async #preview({ frame, point }) {
    const { project } = this.store.get();
    if (!project) return null;
    const id = this.edits.selected(frame)?.id ?? null;
    return (await this.api.preview(project.name, frame, { points: [point], box: null, mask: null }, id)).mask;
  }

  /** Another project, or none. */
  #open() {
    const { project } = this.store.get();
    if ((project?.name ?? null) === this.opened) return;
    this.pictures?.close();
    [this.opened, this.pictures, this.shown, this.fetched] = [project?.name ?? null, null, null, NONE];
    this.cancel();
    if (!project) return;
    this.pictures = new Pictures(
      (frame, size) => this.api.imageUrl(project.name, frame, size),
      { frames: project.num_frames, video: project.kind === "video" },
      (picture) => this.#arrived(picture),
      (error) => this.say(error instanceof Error ? error.message : String(error), "error"),
    );
    this.#go();
  }

  /** Another frame. */
  #go() {
    const { frame, playing } = this.store.get();
    const now = performance.now();
    this.hover.off();
    this.pictures?.show(frame, playing || now - this.moved < HURRY);
    this.moved = now;
    void this.#ahead();
  }

  /** @param {Picture} picture */
  #arrived(picture) {
    const { frame, project } = this.store.get();
    const { shown } = this;
    const off = Math.abs(picture.frame - frame);
    if (shown && off && Math.abs(shown.frame - frame) <= off) return; // a straggler
    if (shown?.frame === picture.frame && shown.sharp && !picture.sharp) return;
    const size = project?.kind === "video" ? project : this.edits.frame(picture.frame);
    if (!size) return; // of a photo: shown when its state tells how large it is
    if (shown?.frame !== picture.frame) this.hover.off();
    this.shown = picture;
    this.view.show({ width: size.width, height: size.height });
    this.#describe();
    this.turn(() => {});
  }

  /** Masks, objects or the selection changed. */
  #known() {
    const { project, frame, frameState } = this.store.get();
    const told = project?.kind === "images" && frameState?.frame === frame && this.frame !== frame;
    if (told) this.pictures?.show(frame, false);
    if (this.edits.busy && !this.waiting) this.asked = performance.now();
    this.#describe();
    this.draw(true);
  }

  /** Tracking ended: its events told of the newest frames only, so ask for all that are near. */
  #passed() {
    const { job, frameState } = this.store.get();
    if (job?.state === "running") return;
    this.fetched = NONE;
    this.store.set({ masksByFrame: new Map(frameState ? [[frameState.frame, frameState]] : []) });
    void this.#ahead();
  }

  /** Fetch the masks of the frames around the one shown, so that scrubbing has them at once. */
  async #ahead() {
    const { project, frame } = this.store.get();
    if (project?.kind !== "video") return;
    const { start, stop, ...of } = this.fetched;
    const [more, less] = [stop < project.num_frames && frame + REACH >= stop, start > 0 && frame - REACH < start];
    if (of.project === project.name && frame >= start && frame < stop && !more && !less) return;
    const span = { start: Math.max(0, frame - BEFORE), stop: Math.min(project.num_frames, frame + AFTER) };
    this.fetched = { project: project.name, ...span };
    const states = await this.api.masks(project.name, span.start, span.stop).catch(() => []);
    if (this.store.get().project?.name !== project.name) return;
    const masksByFrame = new Map(this.store.get().masksByFrame);
    for (const state of states) {
      if (!this.edits.busy || !masksByFrame.has(state.frame)) masksByFrame.set(state.frame, state);
    }
    this.store.set({ masksByFrame });
  }

  /** Say in words what is seen. */
  #describe() {
    const { project } = this.store.get();
    if (!project || !this.shown) return;
    const names = new Map(project.objects.map(({ id, name, visible }) => [id, visible ? name : ""]));
    const known = (this.edits.frame(this.frame)?.objects ?? []).filter(({ mask, area }) => mask && area);
    const list = known.map(({ object_id }) => names.get(object_id)).filter(Boolean);
    const chosen = this.edits.selected(this.frame);
    const parts = [`${project.kind === "video" ? "Frame" : "Photo"} ${this.frame + 1} of ${project.num_frames}`];
    parts.push(list.length ? `masks of ${list.join(", ")}` : "no masks");
    if (chosen) parts.push(`${chosen.name} is selected`);
    this.host.setAttribute("aria-label", parts.join("; "));
  }
}

/** @param {HTMLElement} host */
function addCanvas(host) {
  const canvas = document.createElement("canvas");
  canvas.className = "layer";
  canvas.setAttribute("aria-hidden", "true");
  host.append(canvas);
  return canvas;
}
