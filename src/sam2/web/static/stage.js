/**
 * The stage: the picture of the frame with its masks on one canvas, prompts and what the hand is doing on another above
 * it. Masks are always those of the frame whose picture is seen.
 *
 * @typedef {import("./pictures.js").Picture} Picture
 */

import { Edits } from "./edits.js";
import { Hover } from "./hover.js";
import * as paint from "./paint.js";
import { Pictures } from "./pictures.js";
import { startTools } from "./tools.js";
import { View } from "./view.js";

const ZOOM = 1.35;
const [BEFORE, AFTER, REACH] = [20, 60, 15]; // frames whose masks are fetched ahead, and when to fetch again
const BREATH = 900; // ms, a pulse while an answer is awaited

/**
 * @param {HTMLElement} host
 * @param {import("./types").Store} store
 * @param {typeof import("./api.js").api} api
 * @param {import("./undo.js").UndoStack} undo
 * @param {(text: string, kind?: "info" | "error") => void} say
 * @returns {{zoomIn: () => void, zoomOut: () => void, fit: () => void, cancel: () => void, edits: Edits}}
 */
export function startStage(host, store, api, undo, say) {
  const [below, above] = [addCanvas(host), addCanvas(host)];
  const view = new View();
  const edits = new Edits(store, api, undo, say);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Picture | null} */ let shown = null;
  /** @type {Pictures | null} */ let pictures = null;
  /** @type {string | null} */ let opened = null;
  let [dirty, waiting, changed] = [false, false, 0];
  let fetched = { project: "", start: 0, stop: 0 };

  const hover = new Hover(async ({ frame, point }) => {
    const { project } = store.get();
    if (!project) return null;
    const id = edits.selected(frame)?.id ?? null;
    const prompts = { points: [point], box: null, mask: null };
    return (await api.preview(project.name, frame, prompts, id)).mask;
  }, () => draw());
  /** @type {import("./tools.js").Scene["hand"]} */
  const hand = { box: null, ring: null, cross: null, ghost: null, moved: null, stroke: null };
  const draw = (under = false) => {
    dirty ||= under;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(render);
  };
  const scene = { view, store, edits, hover, hand, draw, frame: () => shown?.frame ?? -1 };
  const tools = startTools(host, scene);

  const render = (/** @type {number} */ now) => {
    waiting = false;
    const { project, objectId, opacity } = store.get();
    const objects = shown ? edits.frame(shown.frame)?.objects ?? [] : [];
    const all = new Map(project?.objects.map((object) => [object.id, object]));
    const chosen = shown && edits.selected(shown.frame);
    if (dirty) {
      dirty = false;
      const context = paint.begin(below, view);
      if (shown) paint.picture(context, view, shown.bitmap);
      const layers = objects.flatMap(({ object_id, mask }) => {
        const object = all.get(object_id);
        const selected = object_id === objectId;
        if (!object?.visible) return [];
        return [{ mask, colour: object.colour, selected, drawn: selected ? hand.stroke?.canvas : null }];
      });
      if (hand.stroke && !layers.some(({ selected }) => selected)) {
        layers.push({ mask: null, colour: "", selected: true, drawn: hand.stroke.canvas });
      }
      paint.masks(context, view, layers.sort((one, other) => +one.selected - +other.selected), opacity);
    }
    const context = paint.begin(above, view);
    const colour = chosen?.colour ?? "#3b82f6";
    const phase = calm.matches ? 0 : (now / 60) % 9;
    if (hover.mask) paint.preview(context, view, hover.mask, { colour, phase });
    for (const { object_id, prompts } of objects) {
      const object = all.get(object_id);
      if (!prompts || !object?.visible) continue;
      const main = object_id === chosen?.id;
      const points = prompts.points.map((point, index) =>
        main && hand.moved?.index === index ? { ...point, ...hand.moved.spot } : point,
      );
      const pulse = !edits.busy ? -1 : calm.matches ? 0.4 : ((now - changed) % BREATH) / BREATH;
      paint.marks(context, view, { points, box: prompts.box ?? null, main, colour: object.colour }, pulse);
    }
    if (hand.ghost) paint.marks(context, view, { points: [hand.ghost], box: null, main: true, colour }, -1);
    if (hand.box) paint.rubber(context, view, hand.box);
    if (hand.ring) paint.ring(context, view, hand.ring, store.get().brushSize);
    if (hand.cross) paint.crosshair(context, view, hand.cross);
    if ((hover.mask || edits.busy) && !calm.matches) draw();
    host.setAttribute("aria-busy", String(edits.busy));
  };

  /** @param {Picture} picture */
  const arrived = (picture) => {
    const { frame } = store.get();
    const off = Math.abs(picture.frame - frame);
    if (shown && off && Math.abs(shown.frame - frame) <= off) return; // a straggler
    if (shown?.frame === picture.frame && shown.sharp && !picture.sharp) return;
    const size = sizeOf(picture);
    if (!size) return; // comes again when the frame's state does
    if (shown?.frame !== picture.frame) hover.off();
    shown = picture;
    view.show(size);
    tools.look();
    describe();
    draw(true);
  };

  /** How large a frame is; of photos only what is known of the frame itself tells. @param {Picture} picture */
  const sizeOf = ({ frame, bitmap }) => {
    const { project } = store.get();
    const known = project?.kind === "video" ? project : edits.frame(frame);
    return known && { width: known.width || bitmap.width, height: known.height || bitmap.height };
  };

  /** Say in words what is seen. */
  const describe = () => {
    const { project } = store.get();
    if (!project || !shown) return;
    const names = new Map(project.objects.map(({ id, name, visible }) => [id, visible ? name : ""]));
    const seen = (edits.frame(shown.frame)?.objects ?? []).filter(({ mask, area }) => mask && area);
    const list = seen.map(({ object_id }) => names.get(object_id)).filter(Boolean);
    const chosen = edits.selected(shown.frame)?.name;
    const parts = [`${project.kind === "video" ? "Frame" : "Photo"} ${shown.frame + 1} of ${project.num_frames}`];
    parts.push(list.length ? `masks of ${list.join(", ")}` : "no masks", chosen ? `${chosen} is selected` : "");
    host.setAttribute("aria-label", parts.filter(Boolean).join("; "));
  };

  const open = () => {
    const { project } = store.get();
    if ((project?.name ?? null) === opened) return;
    opened = project?.name ?? null;
    pictures?.close();
    [pictures, shown] = [null, null];
    fetched = { project: "", start: 0, stop: 0 };
    tools.cancel();
    if (!project) return;
    const source = { frames: project.num_frames, video: project.kind === "video" };
    const address = (/** @type {number} */ frame, /** @type {number=} */ size) => api.imageUrl(project.name, frame, size);
    pictures = new Pictures(address, source, arrived, (error) => say(String(/** @type {Error} */ (error).message), "error"));
    go();
  };

  const go = () => {
    const { project, frame, playing } = store.get();
    if (!project || !pictures) return;
    const now = performance.now();
    hover.off();
    pictures.show(frame, playing || now - changed < 250);
    changed = now;
    if (project.kind === "video") void ahead(project.name, frame, project.num_frames);
  };

  /** Fetch the masks of the frames around one, so that scrubbing shows them at once. */
  const ahead = async (/** @type {string} */ project, /** @type {number} */ frame, /** @type {number} */ count) => {
    const near = fetched.project === project && frame >= fetched.start && frame < fetched.stop;
    const edge = near && ((fetched.stop < count && frame + REACH >= fetched.stop) || (fetched.start > 0 && frame - REACH < fetched.start));
    if (near && !edge) return;
    const span = { project, start: Math.max(0, frame - BEFORE), stop: Math.min(count, frame + AFTER) };
    fetched = span;
    const states = await api.masks(project, span.start, span.stop).catch(() => []);
    if (store.get().project?.name !== project) return;
    const masksByFrame = new Map(store.get().masksByFrame);
    for (const state of states) if (!edits.busy || !masksByFrame.has(state.frame)) masksByFrame.set(state.frame, state);
    store.set({ masksByFrame });
  };

  store.on(["project"], open);
  store.on(["frame"], go);
  store.on(["job"], () => {
    const { project, frame, job } = store.get();
    if (project?.kind !== "video" || job?.state === "running") return;
    fetched = { project: "", start: 0, stop: 0 }; // events tell of the newest frames only
    void ahead(project.name, frame, project.num_frames);
  });
  store.on(["frameState", "masksByFrame", "project", "objectId"], () => {
    const { project, frame, frameState } = store.get();
    if (project?.kind === "images" && frameState?.frame === frame && shown?.frame !== frame) pictures?.show(frame, false);
    if (edits.busy && !waiting) changed = performance.now();
    describe();
    draw(true);
  });
  store.on(["opacity", "tool", "brushSize", "negative"], () => {
    tools.look();
    draw(true);
  });
  new ResizeObserver(() => {
    const { width, height } = host.getBoundingClientRect();
    if (!width || !height) return;
    for (const canvas of [below, above]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    view.resize({ width, height });
    dirty = true;
    render(performance.now()); // at once, or it flickers
  }).observe(host);
  open();

  const turn = (/** @type {() => void} */ change) => () => {
    change();
    tools.look();
    draw(true);
  };
  return {
    zoomIn: turn(() => view.zoom(ZOOM)),
    zoomOut: turn(() => view.zoom(1 / ZOOM)),
    fit: turn(() => view.fit()),
    cancel: () => tools.cancel(),
    edits,
  };
}

/** @param {HTMLElement} host */
function addCanvas(host) {
  const canvas = document.createElement("canvas");
  canvas.className = "layer";
  canvas.setAttribute("aria-hidden", "true");
  host.append(canvas);
  return canvas;
}
