/**
 * Hands on the stage: mouse, pen, fingers and keys become points, boxes, strokes, and moves of the view.
 *
 * @typedef {import("./view.js").Spot} Spot
 * @typedef {import("./types").Prompts} Prompts
 * @typedef {"pan" | "pinch" | "press" | "box" | "move" | "stroke" | null} Gesture
 * @typedef {{
 *   view: import("./view.js").View,
 *   store: import("./types").Store,
 *   edits: import("./edits.js").Edits,
 *   hover: import("./hover.js").Hover,
 *   frame: () => number,
 *   hand: {box: number[] | null, ring: Spot | null, cross: Spot | null, ghost: import("./types").Point | null,
 *     moved: {index: number, spot: Spot} | null, stroke: import("./brush.js").Stroke | null},
 *   draw: (below?: boolean) => void,
 * }} Scene frame is the one that is shown, -1 if none is
 */

import { Stroke } from "./brush.js";
import { covers } from "./rle.js";
import { clamp, inside } from "./view.js";

const SLOP = { mouse: 4, pen: 6, touch: 10 }; // CSS pixels that a click may wander
const REACH = { mouse: 11, pen: 14, touch: 22 }; // CSS pixels around a point that belong to it
const TWICE = 260; // ms within which a second tap makes a double one

/** @param {HTMLElement} host @param {Scene} scene */
export function startTools(host, scene) {
  const { view, store, edits, hover, hand } = scene;
  /** @type {Map<number, Spot>} */ const fingers = new Map();
  /** @type {Gesture} */ let gesture = null;
  let [from, last, kind] = [{ x: 0, y: 0 }, { x: 0, y: 0 }, /** @type {keyof typeof SLOP} */ ("mouse")];
  let [space, panned, remove, byKey, tap, grip] = [false, false, false, false, 0, -1];
  /** @type {Spot | null} */ let pointer = null;

  const spotOf = (/** @type {MouseEvent} */ event) => {
    const { left, top } = host.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const tool = () => store.get().tool;
  const painting = () => tool() === "brush" || tool() === "erase";
  const radius = () => store.get().brushSize / 2 / view.scale;
  const onPicture = (/** @type {Spot} */ spot) => clamp(view.toPicture(spot), view.picture);

  /** The place of the point under a spot in the list, -1 if there is none. @param {Spot} spot */
  const pointAt = (spot) =>
    edits.prompts(scene.frame()).points.findIndex((point) => {
      const { x, y } = view.toStage(point);
      return Math.hypot(x - spot.x, y - spot.y) <= REACH[kind];
    });

  const look = () => {
    const moves = gesture === "pan" || gesture === "pinch";
    const plain = painting() && pointer && scene.frame() >= 0 ? "none" : tool() === "select" ? "pointer" : "crosshair";
    host.dataset.cursor = moves ? "grabbing" : space || tool() === "pan" ? "grab" : plain;
    hand.ring = painting() && pointer && !moves && !space ? view.toPicture(pointer) : null;
  };

  const preview = (/** @type {PointerEvent} */ event) => {
    const spot = spotOf(event);
    const at = view.toPicture(spot);
    const wanted = event.pointerType === "mouse" && !event.buttons && !space && store.get().hover;
    const clicks = tool() === "click" && !event.ctrlKey && !event.shiftKey && !store.get().playing;
    if (!wanted || !clicks || !inside(at, view.picture) || scene.frame() < 0 || pointAt(spot) >= 0) return hover.off();
    hover.at({ frame: scene.frame(), point: { ...onPicture(spot), label: event.altKey || store.get().negative ? 0 : 1 } });
  };

  /** @param {Spot} at in pixels of the picture @param {0 | 1} label */
  const addPoint = ({ x, y }, label) =>
    edits
      .change(label ? "Point added" : "Negative point added", scene.frame(), (before) => ({
        ...before,
        points: [...before.points, { x, y, label }],
      }))
      .finally(() => hover.off());

  /** Select the object under a spot; the one above the selected one if there are several. @param {Spot} at */
  const selectAt = (at) => {
    const { project, objectId } = store.get();
    const seen = new Set(project?.objects.filter(({ visible }) => visible).map(({ id }) => id));
    const hits = (edits.frame(scene.frame())?.objects ?? [])
      .filter(({ object_id, mask }) => seen.has(object_id) && mask && covers(mask, at.x, at.y))
      .sort((one, other) => one.area - other.area);
    const place = hits.findIndex(({ object_id }) => object_id === objectId);
    if (hits.length) store.set({ objectId: hits[(place + 1) % hits.length].object_id });
  };

  /** @param {PointerEvent} event @param {Spot} spot */
  const click = (event, spot) => {
    const at = view.toPicture(spot);
    const index = pointAt(spot);
    if (index >= 0 || remove) hover.off();
    if (!inside(at, view.picture)) return;
    if (tool() === "select" || event.ctrlKey || event.metaKey || event.shiftKey) return selectAt(at);
    if (index >= 0) {
      return void edits.change("Point removed", scene.frame(), (before) => ({
        ...before,
        points: before.points.filter((_, place) => place !== index),
      }));
    }
    const label = remove ? 0 : 1;
    if (kind !== "touch") return void addPoint(onPicture(spot), label);
    const point = { ...onPicture(spot), label: /** @type {0 | 1} */ (label) };
    hand.ghost = point; // sent when no second tap has come
    tap = window.setTimeout(() => {
      [tap, hand.ghost] = [0, null];
      void addPoint(point, point.label);
    }, TWICE);
  };

  const startPinch = () => {
    [gesture, hand.box, hand.moved, hand.stroke] = ["pinch", null, null, null];
    last = middle();
    grip = spread();
  };
  const middle = () => {
    const [one, other] = [...fingers.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
  };
  const spread = () => {
    const [one, other] = [...fingers.values()];
    return Math.hypot(one.x - other.x, one.y - other.y) || 1;
  };

  const down = (/** @type {PointerEvent} */ event) => {
    const spot = spotOf(event);
    kind = /** @type {keyof typeof SLOP} */ (event.pointerType in SLOP ? event.pointerType : "mouse");
    byKey = false;
    hand.cross = null;
    fingers.set(event.pointerId, spot);
    host.setPointerCapture(event.pointerId);
    hover.off(event.button === 0);
    if (fingers.size === 2) startPinch();
    if (fingers.size > 1 || gesture) return scene.draw(true);
    [from, last, pointer] = [spot, spot, spot];
    remove = event.button === 2 || event.altKey || (event.button === 0 && store.get().negative);
    if (tap && Math.hypot(hand.ghost ? view.toStage(hand.ghost).x - spot.x : 99, 0) < 40) {
      clearTimeout(tap);
      [tap, hand.ghost, gesture] = [0, null, "pan"];
      view.zoom(view.fitted ? 2.5 : 1e-9, spot);
    } else if (event.button === 1 || space || tool() === "pan" || scene.frame() < 0) {
      [gesture, panned] = ["pan", true];
    } else if (painting() && event.button === 0) startStroke(spot);
    else if (event.button === 0 || event.button === 2) {
      gesture = "press";
      grip = pointAt(spot);
    }
    look();
    scene.draw(true);
  };

  /** @param {Spot} spot */
  const startStroke = (spot) => {
    const chosen = edits.selected(scene.frame());
    const erase = (tool() === "erase") !== remove;
    const now = chosen && edits.object(scene.frame(), chosen.id).mask;
    if (erase && !now?.counts) return;
    gesture = "stroke";
    const { width, height } = view.picture;
    hand.stroke = new Stroke(now, { width, height, colour: chosen?.colour ?? "#3b82f6", erase });
    hand.stroke.to(view.toPicture(spot), radius());
  };

  const move = (/** @type {PointerEvent} */ event) => {
    const spot = spotOf(event);
    pointer = event.pointerType === "touch" && !fingers.size ? null : spot;
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, spot);
    if (gesture === "pinch" && fingers.size >= 2) {
      const [now, wide] = [middle(), spread()];
      view.zoom(wide / grip, last);
      view.pan(now.x - last.x, now.y - last.y);
      [last, grip] = [now, wide];
    } else if (gesture === "pan") {
      view.pan(spot.x - last.x, spot.y - last.y);
      last = spot;
    } else if (gesture === "stroke") {
      for (const part of event.getCoalescedEvents?.() ?? []) hand.stroke?.to(view.toPicture(spotOf(part)), radius());
      hand.stroke?.to(view.toPicture(spot), radius());
    } else if (gesture === "press" && Math.hypot(spot.x - from.x, spot.y - from.y) > SLOP[kind]) {
      hover.off();
      if (grip >= 0) gesture = "move";
      else if (tool() !== "select" && !remove) gesture = "box";
    } else if (!gesture) preview(event);
    if (gesture === "move") hand.moved = { index: grip, spot: onPicture(spot) };
    if (gesture === "box") hand.box = boxTo(spot);
    look();
    scene.draw(gesture === "pan" || gesture === "pinch" || gesture === "stroke");
  };

  /** @param {Spot} spot */
  const boxTo = (spot) => {
    const [one, other] = [onPicture(from), onPicture(spot)];
    const [left, top] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
    return [left, top, Math.max(one.x, other.x), Math.max(one.y, other.y)];
  };

  const up = (/** @type {PointerEvent} */ event) => {
    fingers.delete(event.pointerId);
    if (gesture === "pinch") {
      if (!fingers.size) gesture = null;
      return look();
    }
    if (fingers.size) return;
    const spot = spotOf(event);
    const [done, { box, moved, stroke }] = [gesture, hand];
    cancel(done === "press");
    if (event.type === "pointercancel") return;
    if (done === "press") click(event, spot);
    else if (done === "box" && box && box[2] - box[0] >= 1 && box[3] - box[1] >= 1) {
      const corners = /** @type {[number, number, number, number]} */ (box);
      void edits.change("Box drawn", scene.frame(), ({ points }) => ({ points, box: corners, mask: null }));
    } else if (done === "move" && moved) {
      void edits.change("Point moved", scene.frame(), (before) => ({
        ...before,
        points: before.points.map((point, index) => (index === moved.index ? { ...point, ...moved.spot } : point)),
      }));
    } else if (done === "stroke" && stroke) {
      const label = stroke.erase ? "Erased" : "Brushed";
      void edits.change(label, scene.frame(), () => ({ points: [], box: null, mask: stroke.mask() }));
    }
    if (event.pointerType === "touch") pointer = null;
    look();
    scene.draw(true);
  };

  /** Give up what the hand is doing. @param {boolean} [keep] what the mouse hovers over */
  const cancel = (keep) => {
    gesture = null;
    [hand.box, hand.moved, hand.stroke] = [null, null, null];
    hover.off(keep);
    look();
    scene.draw(true);
  };

  const wheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
    const power = Math.max(-240, Math.min(240, event.deltaY * unit)) * (event.ctrlKey ? 0.01 : 0.0022);
    view.zoom(Math.exp(-power), spotOf(event));
    look();
    scene.draw(true);
  };

  const keys = (/** @type {KeyboardEvent} */ event) => {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!byKey || event.ctrlKey || event.metaKey || event.altKey || scene.frame() < 0) return;
    const way = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (way) {
      const step = (event.shiftKey ? 40 : 8) / view.scale;
      const at = hand.cross ?? { x: view.picture.width / 2, y: view.picture.height / 2 };
      hand.cross = clamp({ x: at.x + way[0] * step, y: at.y + way[1] * step }, view.picture);
    } else if (event.key === "Enter" && hand.cross) void addPoint(hand.cross, event.shiftKey ? 0 : 1);
    else if (event.key === "Escape" && hand.cross) hand.cross = null;
    else return;
    event.preventDefault();
    event.stopPropagation();
    scene.draw();
  };

  const holdSpace = (/** @type {KeyboardEvent} */ event) => {
    if (event.code !== "Space") return;
    const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, button, dialog");
    if (event.type === "keydown" && !typing) {
      if (!space) panned = false;
      space = true;
    } else if (event.type === "keyup") {
      if (space && panned) event.stopImmediatePropagation();
      space = false;
    }
    look();
    scene.draw();
  };

  host.addEventListener("pointerdown", down);
  host.addEventListener("pointermove", move);
  host.addEventListener("pointerup", up);
  host.addEventListener("pointercancel", up);
  host.addEventListener("pointerleave", () => {
    if (fingers.size) return;
    pointer = null;
    hover.off();
    look();
    scene.draw();
  });
  host.addEventListener("mousedown", (event) => event.button === 1 && event.preventDefault()); // no scrolling by itself
  host.addEventListener("contextmenu", (event) => event.preventDefault());
  host.addEventListener("wheel", wheel, { passive: false });
  host.addEventListener("keydown", keys);
  host.addEventListener("focus", () => {
    byKey = host.matches(":focus-visible");
    if (byKey) hand.cross ??= { x: view.picture.width / 2, y: view.picture.height / 2 };
    scene.draw();
  });
  host.addEventListener("blur", () => {
    hand.cross = null;
    scene.draw();
  });
  addEventListener("keydown", holdSpace, true);
  addEventListener("keyup", holdSpace, true);
  addEventListener("blur", () => (space = false));
  look();
  return { cancel, look };
}
