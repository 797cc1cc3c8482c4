/** The lanes of the timeline: a line an object, its height the area, its strength the score; dots where it is prompted. */

import { api } from "./api.js";
import { store } from "./store.js";

const [TALL, HEIGHT, WAIT] = [19, 156, 400]; // CSS pixels of a lane and of all at most, ms

/** @param {HTMLCanvasElement} canvas */
export function drawTimeline(canvas) {
  /** @type {import("./types").Timeline | null} */ let timeline = null;
  let [timer, waiting] = [0, false];
  const draw = () => {
    waiting = false;
    const { project, frame, objectId } = store.get();
    if (!project || !canvas.isConnected) return;
    const objects = [...project.objects].sort((one, other) => Number(other.id === objectId) - Number(one.id === objectId));
    const width = canvas.clientWidth;
    const tall = Math.min(TALL, HEIGHT / Math.max(1, objects.length)); // of a lane: many objects get thin ones
    const [lane, height] = [0.84 * tall, tall * Math.max(1, objects.length) + 3];
    Object.assign(canvas, { width: width * devicePixelRatio, height: height * devicePixelRatio });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(devicePixelRatio, devicePixelRatio);
    const step = width / project.num_frames;
    objects.forEach(({ id, colour, visible }, place) => {
      const known = timeline?.objects.find(({ object_id }) => object_id === id);
      const bottom = (place + 1) * tall;
      context.fillStyle = colour;
      const largest = known?.areas.reduce((most, area) => Math.max(most, area), 1e-9) ?? 1;
      known?.frames.forEach((at, index) => {
        if (!known.areas[index]) return;
        const bar = Math.max(1, lane * Math.sqrt(known.areas[index] / largest));
        context.globalAlpha = (visible ? 1 : 0.4) * (0.25 + 0.6 * Math.min(1, Math.max(0, known.scores[index])));
        const left = Math.round(at * step);
        context.fillRect(left, bottom - bar, Math.max(1, Math.round((at + 1) * step) - left), bar);
      });
      context.globalAlpha = 1;
      for (const at of known?.prompted ?? []) {
        context.beginPath();
        context.arc((at + 0.5) * step, bottom - lane / 2, Math.min(4, lane / 3), 0, 2 * Math.PI);
        context.fillStyle = colour;
        context.fill();
        context.lineWidth = 1.75;
        context.strokeStyle = "#ffffff";
        context.stroke();
      }
    });
    context.fillStyle = "#e11d48";
    context.fillRect((frame + 0.5) * step - 1, 0, 2, height);
  };
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  };
  const ask = () => {
    clearTimeout(timer);
    timer = window.setTimeout(async () => {
      const name = store.get().project?.name;
      if (!name || !canvas.isConnected) return;
      timeline = (await api.timeline(name).catch(() => null)) ?? timeline;
      later();
    }, WAIT);
  };
  store.on(["frame", "objectId", "project"], later);
  store.on(["project", "job", "masksByFrame"], ask);
  new ResizeObserver(later).observe(canvas);
  ask();
}
