/**
 * Hands on the stage: mouse, pen, fingers and keys become points, boxes, strokes, and moves of the view.
 *
 * @typedef {import("./view.js").Spot} Spot
 * @typedef {"pan" | "pinch" | "press" | "box" | "move" | "stroke" | null} Gesture
 */

import { Stroke } from "./brush.js";
import { covers } from "./rle.js";
import { clamp, inside } from "./view.js";

const SLOP = { mouse: 4, pen: 6, touch: 10 }; // CSS pixels that a click may wander
const NEAR = { mouse: 11, pen: 14, touch: 16 }; // CSS pixels around a point that belong to it
const TWICE = 260; // ms within which a second tap makes a double one
const CLOSER = 2.5; // zoom of a double tap
const PLAIN = "#3b82f6";
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Tools {
  /** @type {Map<number, Spot>} */ fingers = new Map();
  /** @type {Gesture} */ gesture = null;
  /** @type {Spot | null} */ pointer = null;
  /** @type {keyof typeof SLOP} */ kind = "mouse";
  from = { x: 0, y: 0 };
  last = { x: 0, y: 0 };
  spread = 1;
  gripped = -1; // the point that the hand holds
  space = false;
  panned = false;
  remove = false;
  byKey = false;
  tap = 0;

  /** @param {import("./stage.js").Stage} stage */
  constructor(stage) {
    this.stage = stage;
    const { host } = stage;
    host.addEventListener("pointerdown", (event) => this.#down(event));
    host.addEventListener("pointermove", (event) => this.#move(event));
    host.addEventListener("pointerup", (event) => this.#up(event));
    host.addEventListener("pointercancel", (event) => this.#up(event));
    host.addEventListener("pointerleave", () => this.fingers.size || this.#leave());
    host.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault()); // it would scroll
    host.addEventListener("contextmenu", (event) => event.preventDefault());
    host.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("focus", () => this.#focus(host.matches(":focus-visible")));
    host.addEventListener("blur", () => this.#focus(false));
    addEventListener("keydown", (event) => this.#hold(event), true);
    addEventListener("keyup", (event) => this.#hold(event), true);
    addEventListener("blur", () => (this.space = false));
  }

  /** Show what the hand could do here. */
  look() {
    const { gesture, pointer, space } = this;
    const { view, hand, host, frame } = this.stage;
    const tool = this.#tool;
    const moves = gesture === "pan" || gesture === "pinch";
    const paints = this.#paints && pointer && frame >= 0 && !moves && !space;
    const free = paints ? "none" : tool === "select" ? "pointer" : "crosshair";
    host.style.cursor = moves ? "grabbing" : space || tool === "pan" ? "grab" : free;
    hand.ring = paints ? view.toPicture(pointer) : null;
  }

  /** Give up what the hand is doing. @param {boolean} [keep] what the mouse hovers over */
  cancel(keep) {
    this.gesture = null;
    Object.assign(this.stage.hand, { box: null, moved: null, stroke: null });
    this.stage.hover.off(keep);
    this.look();
    this.stage.draw(true);
  }

  get #tool() {
    return this.stage.store.get().tool;
  }

  get #paints() {
    return this.#tool === "brush" || this.#tool === "erase";
  }

  get #radius() {
    return this.stage.store.get().brushSize / 2 / this.stage.view.scale;
  }

  /** @param {MouseEvent} event @returns {Spot} */
  #spot(event) {
    const { left, top } = this.stage.host.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** @param {Spot} spot on the stage @returns {Spot} on the picture */
  #onPicture(spot) {
    const { view } = this.stage;
    return clamp(view.toPicture(spot), view.picture);
  }

  /** The place of the point under a spot in the list, -1 if there is none. @param {Spot} spot */
  #pointAt(spot) {
    const { edits, frame, view } = this.stage;
    return edits.prompts(frame).points.findIndex((point) => {
      const { x, y } = view.toStage(point);
      return Math.hypot(x - spot.x, y - spot.y) <= NEAR[this.kind];
    });
  }

  /** @param {PointerEvent} event */
  #down(event) {
    const { stage, fingers } = this;
    const spot = this.#spot(event);
    this.kind = /** @type {keyof typeof SLOP} */ (event.pointerType in SLOP ? event.pointerType : "mouse");
    this.#focus(false);
    fingers.set(event.pointerId, spot);
    stage.host.setPointerCapture(event.pointerId);
    stage.hover.off(event.button === 0);
    if (fingers.size === 2) {
      this.cancel();
      this.gesture = "pinch";
      ({ middle: this.last, spread: this.spread } = this.#pinch());
    }
    if (this.gesture) return;
    this.from = this.last = this.pointer = spot;
    this.remove = event.button === 2 || event.altKey || (event.button === 0 && stage.store.get().negative);
    if (this.tap && this.#again(spot)) return;
    if (event.button === 1 || this.space || this.#tool === "pan" || stage.frame < 0) {
      this.gesture = "pan";
      this.panned = true;
    } else if (this.#paints && event.button === 0) this.#startStroke(spot);
    else if (event.button !== 1) {
      this.gesture = "press";
      this.gripped = this.#pointAt(spot);
    }
    this.look();
    stage.draw(true);
  }

  /** A second tap takes the first one's point back, and zooms. @param {Spot} spot */
  #again(spot) {
    const { view, hand } = this.stage;
    const { x, y } = hand.ghost ? view.toStage(hand.ghost) : { x: Infinity, y: 0 };
    if (Math.hypot(x - spot.x, y - spot.y) > 40) return false;
    clearTimeout(this.tap);
    [this.tap, hand.ghost, this.gesture] = [0, null, "pan"];
    this.stage.turn(() => (view.fitted ? view.zoom(CLOSER, spot) : view.fit()));
    return true;
  }

  /** @param {Spot} spot */
  #startStroke(spot) {
    const { edits, frame, view, hand } = this.stage;
    const chosen = edits.selected(frame);
    const erase = (this.#tool === "erase") !== this.remove;
    const mask = chosen && edits.object(frame, chosen.id).mask;
    if (erase && !mask) return;
    this.gesture = "stroke";
    hand.stroke = new Stroke(mask, { ...view.picture, colour: chosen?.colour ?? PLAIN, erase });
    hand.stroke.to(view.toPicture(spot), this.#radius);
  }

  /** Where two fingers are, and how far from each other. */
  #pinch() {
    const [one, other] = [...this.fingers.values()];
    const middle = { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
    return { middle, spread: Math.hypot(one.x - other.x, one.y - other.y) || 1 };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const { stage, from, fingers } = this;
    const { view, hand } = stage;
    const spot = this.#spot(event);
    this.pointer = spot;
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, spot);
    if (this.gesture === "press" && Math.hypot(spot.x - from.x, spot.y - from.y) > SLOP[this.kind]) {
      stage.hover.off();
      if (this.gripped >= 0) this.gesture = "move";
      else if (this.#tool !== "select" && !this.remove) this.gesture = "box";
    }
    if (this.gesture === "pinch" && fingers.size > 1) {
      const { middle, spread } = this.#pinch();
      view.zoom(spread / this.spread, this.last);
      view.pan(middle.x - this.last.x, middle.y - this.last.y);
      [this.last, this.spread] = [middle, spread];
    } else if (this.gesture === "pan") {
      view.pan(spot.x - this.last.x, spot.y - this.last.y);
      this.last = spot;
    } else if (this.gesture === "stroke") {
      for (const part of [...event.getCoalescedEvents(), event]) {
        hand.stroke?.to(view.toPicture(this.#spot(part)), this.#radius);
      }
    } else if (this.gesture === "move") hand.moved = { index: this.gripped, spot: this.#onPicture(spot) };
    else if (this.gesture === "box") hand.box = this.#boxTo(spot);
    else if (!this.gesture) this.#preview(event, spot);
    this.look();
    stage.draw(this.gesture === "pan" || this.gesture === "pinch" || this.gesture === "stroke");
  }

  /** @param {Spot} spot @returns {[number, number, number, number]} */
  #boxTo(spot) {
    const [one, other] = [this.#onPicture(this.from), this.#onPicture(spot)];
    const [left, top] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
    return [left, top, Math.max(one.x, other.x), Math.max(one.y, other.y)];
  }

  /** @param {PointerEvent} event @param {Spot} spot */
  #preview(event, spot) {
    const { hover, store, view, frame } = this.stage;
    const { tool, negative, playing, hover: wanted } = store.get();
    const bare = event.pointerType === "mouse" && !event.buttons && !event.ctrlKey && !event.shiftKey && !this.space;
    const clicks = wanted && bare && tool === "click" && !playing && frame >= 0;
    if (!clicks || !inside(view.toPicture(spot), view.picture) || this.#pointAt(spot) >= 0) hover.off();
    else hover.at({ frame, point: { ...this.#onPicture(spot), label: event.altKey || negative ? 0 : 1 } });
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const { stage, gesture, fingers } = this;
    const { edits, frame, hand } = stage;
    fingers.delete(event.pointerId);
    if (fingers.size) return;
    const { box, moved, stroke } = hand;
    this.cancel(gesture === "press");
    if (event.pointerType === "touch") this.#leave();
    if (event.type === "pointercancel") return;
    if (gesture === "press") this.#click(event, this.#spot(event));
    else if (gesture === "box" && box && box[2] - box[0] >= 1 && box[3] - box[1] >= 1) {
      void edits.change("Box drawn", frame, ({ points }) => ({ points, box, mask: null }));
    } else if (gesture === "move" && moved) {
      void edits.change("Point moved", frame, (before) => ({
        ...before,
        points: before.points.map((point, index) => (index === moved.index ? { ...point, ...moved.spot } : point)),
      }));
    } else if (gesture === "stroke" && stroke) {
      const mask = stroke.mask();
      void edits.change(stroke.erase ? "Erased" : "Brushed", frame, () => ({ points: [], box: null, mask }));
    }
  }

  /** @param {PointerEvent} event @param {Spot} spot */
  #click(event, spot) {
    const { stage } = this;
    const { edits, frame, hand, hover } = stage;
    const at = stage.view.toPicture(spot);
    const index = this.#pointAt(spot);
    const selects = this.#tool === "select" || event.ctrlKey || event.metaKey || event.shiftKey;
    const outside = !inside(at, stage.view.picture);
    if (index >= 0 || this.remove || selects || outside) hover.off();
    if (outside) return;
    if (selects) return this.#selectAt(at);
    if (index >= 0) {
      const points = (/** @type {import("./types").Prompts} */ before) => before.points.filter((_, at) => at !== index);
      return void edits.change("Point removed", frame, (before) => ({ ...before, points: points(before) }));
    }
    const point = { ...this.#onPicture(spot), label: /** @type {0 | 1} */ (this.remove ? 0 : 1) };
    if (this.kind !== "touch") return this.#add(point);
    hand.ghost = point; // sent when no second tap has come
    this.tap = window.setTimeout(() => {
      [this.tap, hand.ghost] = [0, null];
      this.#add(point);
    }, TWICE);
  }

  /** @param {import("./types").Point} point */
  #add(point) {
    const { edits, frame, hover } = this.stage;
    const label = point.label ? "Point added" : "Negative point added";
    const change = edits.change(label, frame, (before) => ({ ...before, points: [...before.points, point] }));
    void change.finally(() => hover.off());
  }

  /** Select the object under a spot, the smallest first; the next one if that is selected. @param {Spot} at */
  #selectAt(at) {
    const { store, edits, frame } = this.stage;
    const { project, objectId } = store.get();
    const seen = new Set(project?.objects.filter(({ visible }) => visible).map(({ id }) => id));
    const hits = (edits.frame(frame)?.objects ?? [])
      .filter(({ object_id, mask }) => seen.has(object_id) && mask && covers(mask, at.x, at.y))
      .sort((one, other) => one.area - other.area);
    const place = hits.findIndex(({ object_id }) => object_id === objectId);
    if (hits.length) store.set({ objectId: hits[(place + 1) % hits.length].object_id });
  }

  #leave() {
    this.pointer = null;
    this.stage.hover.off();
    this.look();
    this.stage.draw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
    const power = Math.max(-240, Math.min(240, event.deltaY * unit)) * (event.ctrlKey ? 0.01 : 0.0022);
    this.stage.turn(() => this.stage.view.zoom(Math.exp(-power), this.#spot(event)));
  }

  /** The crosshair comes when the stage is reached by keys, and goes with them. @param {boolean} byKey */
  #focus(byKey) {
    const { hand, view } = this.stage;
    this.byKey = byKey;
    this.stage.host.toggleAttribute("data-keys", byKey);
    hand.cross = byKey ? { x: view.picture.width / 2, y: view.picture.height / 2 } : null;
    this.stage.draw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { hand, view, frame } = this.stage;
    if (!this.byKey || !hand.cross || event.ctrlKey || event.metaKey || event.altKey || frame < 0) return;
    const way = WAYS[/** @type {keyof typeof WAYS} */ (event.key)];
    if (way) {
      const step = (event.shiftKey ? 40 : 8) / view.scale;
      hand.cross = clamp({ x: hand.cross.x + way[0] * step, y: hand.cross.y + way[1] * step }, view.picture);
    } else if (event.key === "Enter") this.#add({ ...hand.cross, label: event.shiftKey ? 0 : 1 });
    else if (event.key === "Escape") this.#focus(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.stage.draw();
  }

  /** Space held down makes the hand pan; its release is heard by others only if it did not. @param {KeyboardEvent} event */
  #hold(event) {
    if (event.code !== "Space") return;
    const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, button, dialog");
    if (event.type === "keydown" && typing) return;
    if (event.type === "keydown" && !this.space) this.panned = false;
    if (event.type === "keyup" && this.space && this.panned) event.stopImmediatePropagation();
    this.space = event.type === "keydown";
    this.look();
    this.stage.draw();
  }
}
