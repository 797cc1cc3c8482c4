/** Going through frames: photos one by one with their status, a video on its timeline, where it is also tracked. */

import { api } from "./api.js";
import { attempt, get, icon, make } from "./dom.js";
import { drawTimeline } from "./lanes.js";
import { goTo } from "./project.js";
import { store } from "./store.js";

/** @typedef {import("./types").Status} Status */

const STATUSES = /** @type {const} */ ({ todo: "To do", done: "Done", review: "Review", skipped: "Skipped" });

export function startTimeline() {
  /** @type {string | null} */ let built = null;
  const build = () => {
    const { project } = store.get();
    if ((project?.name ?? null) === built) return;
    built = project?.name ?? null;
    const bar = get("timeline");
    if (!project) bar.replaceChildren();
    else bar.replaceChildren(...(project.kind === "video" ? video() : [photos()]));
    (project?.kind === "video" ? bar.firstElementChild : project && bar)?.append(work());
    store.set({ playing: false, filter: "all" });
  };
  store.on(["project"], build);
  build();
}

/** Play or stop playing. */
export function togglePlay() {
  const { project, frame, playing } = store.get();
  if (project?.kind !== "video") return;
  if (playing) return store.set({ playing: false });
  const first = frame >= project.num_frames - 1 ? 0 : frame;
  const started = performance.now();
  store.set({ playing: true, frame: first });
  const step = (/** @type {number} */ now) => {
    const { playing, project: open } = store.get();
    if (!playing || open?.name !== project.name) return;
    const next = first + Math.floor(((now - started) / 1000) * (project.fps ?? 25));
    goTo(next);
    if (next < project.num_frames - 1) requestAnimationFrame(step);
    else store.set({ playing: false });
  };
  requestAnimationFrame(step);
}

/** To the next photo of the wanted status, or the next frame. @param {1 | -1} way */
export async function goOn(way) {
  const { project, frame, filter } = store.get();
  if (!project) return;
  store.set({ playing: false });
  if (project.kind === "video" || filter === "all") return goTo(frame + way);
  const all = (await attempt(() => api.frames(project.name))) ?? [];
  const left = all.filter((one) => one.status === filter && (one.frame - frame) * way > 0);
  const next = way > 0 ? left[0] : left.at(-1);
  if (next) goTo(next.frame);
}

/** @param {Status} status */
export async function setStatus(status) {
  const { project, frame, frameState } = store.get();
  if (project?.kind !== "images" || !frameState) return;
  const done = await attempt(() => api.setStatus(project.name, frame, status));
  const now = store.get();
  if (!done || !now.project) return;
  const statuses = { ...now.project.statuses };
  const before = now.masksByFrame.get(frame)?.status ?? frameState.status;
  statuses[before] = Math.max(0, (statuses[before] ?? 0) - 1);
  statuses[status] = (statuses[status] ?? 0) + 1;
  const state = { ...(now.masksByFrame.get(frame) ?? frameState), status };
  const masksByFrame = new Map(now.masksByFrame).set(frame, state);
  store.set({ project: { ...now.project, statuses }, masksByFrame, ...(now.frame === frame && { frameState: state }) });
  if (status === "done") await goOn(1);
}

/** @param {string} label @param {string} picture @param {() => void} onclick */
const button = (label, picture, onclick) =>
  make("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick }, icon(picture));

function photos() {
  const count = make("output", { class: "grow" });
  const options = (/** @type {object} */ of) => Object.entries(of).map(([value, text]) => make("option", { value, text }));
  const status = make("select", { "aria-label": "Status of the photo" }, ...options(STATUSES));
  const filter = make("select", { "aria-label": "Photos to go through" }, ...options({ all: "All photos", ...STATUSES }));
  const bar = make("progress", { "aria-label": "Photos done", max: 1 });
  status.addEventListener("change", () => void setStatus(/** @type {Status} */ (status.value)));
  filter.addEventListener("change", () => store.set({ filter: /** @type {Status | "all"} */ (filter.value) }));
  const step = (/** @type {string} */ text, /** @type {1 | -1} */ way) =>
    make("button", { type: "button", "aria-label": `${text} photo`, onclick: () => void goOn(way) }, text);
  const draw = () => {
    const { project, frame, frameState } = store.get();
    if (!project) return;
    const { done = 0, skipped = 0 } = project.statuses;
    count.textContent = `${frame + 1} / ${project.num_frames}  ${frameState?.name ?? ""}`;
    status.value = frameState?.status ?? "todo";
    bar.value = (done + skipped) / project.num_frames;
    bar.title = `${done} done, ${skipped} skipped of ${project.num_frames}`;
  };
  store.on(["project", "frame", "frameState"], draw);
  draw();
  const finish = make("button", { type: "button", class: "main", onclick: () => void setStatus("done") }, "Done, next");
  return make("div", { class: "row" }, step("Previous", -1), step("Next", 1), count, bar, filter, status, finish);
}

/** @returns {HTMLElement[]} */
function video() {
  const slider = make("input", { type: "range", min: 0, "aria-label": "Frame" });
  const count = make("output", { class: "grow" });
  const play = button("Play", "play", togglePlay);
  const canvas = make("canvas", { "aria-hidden": "true" });
  const seek = (/** @type {PointerEvent} */ event) => {
    const { left, width } = canvas.getBoundingClientRect();
    const { project } = store.get();
    if (project) goTo(((event.clientX - left) / width) * project.num_frames - 0.5);
  };
  slider.addEventListener("input", () => goTo(Number(slider.value)));
  canvas.addEventListener("pointerdown", (event) => (canvas.setPointerCapture(event.pointerId), seek(event)));
  canvas.addEventListener("pointermove", (event) => void (event.buttons && seek(event)));
  const track = (/** @type {string} */ text, /** @type {import("./types").TrackRequest["direction"]} */ direction) =>
    make("button", { type: "button", class: direction === "forward" && "main",
      onclick: () => void startTracking(direction) }, `Track ${text}`);
  const tracks = make("span", { class: "group" },
    track("backward", "backward"), track("both ways", "both"), track("forward", "forward"));
  const draw = () => {
    const { project, frame, playing, job } = store.get();
    if (project?.kind !== "video") return;
    slider.max = String(project.num_frames - 1);
    slider.value = String(frame);
    const seconds = project.fps ? `  ${(frame / project.fps).toFixed(2)} s` : "";
    count.textContent = `${frame + 1} / ${project.num_frames}${seconds}`;
    const label = playing ? "Stop playing" : "Play";
    if (play.getAttribute("aria-label") !== label) play.replaceChildren(icon(playing ? "pause" : "play"));
    play.setAttribute("aria-label", label);
    tracks.hidden = job?.state === "running";
  };
  store.on(["project", "frame", "playing", "job"], draw);
  draw();
  drawTimeline(canvas);
  return [make("div", { class: "row" }, play, count, tracks), slider, canvas];
}

/** @param {import("./types").TrackRequest["direction"]} direction */
export async function startTracking(direction) {
  const { project, frame } = store.get();
  if (project?.kind !== "video") return;
  store.set({ playing: false });
  const job = await attempt(() => api.track(project.name, { direction, start: frame }));
  if (job) store.set({ job });
}

/** What goes on in the background, and how to stop it. */
function work() {
  const bar = make("progress", { class: "grow", "aria-label": "Progress" });
  const text = make("output");
  const stop = make("button", { type: "button", onclick: () => void stopWork() }, "Pause");
  const row = make("div", { class: "row work", hidden: true }, bar, text, stop);
  const names = { track: "Tracking", everything: "Finding everything", export: "Exporting" };
  const draw = () => {
    const { job } = store.get();
    row.hidden = job?.state !== "running";
    if (row.hidden || !job) return;
    if (job.total) Object.assign(bar, { max: job.total, value: job.done });
    else bar.removeAttribute("value");
    const speed = job.per_second ? `, ${job.per_second.toFixed(1)} a second` : "";
    text.textContent = `${names[job.kind]}: ${job.done}${job.total ? ` of ${job.total}` : ""}${speed}`;
    stop.textContent = job.kind === "track" ? "Pause" : "Stop";
  };
  store.on(["job"], draw);
  draw();
  return row;
}

/** Stop what goes on; what is done stays. */
export async function stopWork() {
  const { project, job } = store.get();
  if (!project || job?.state !== "running") return;
  const stopped = await attempt(() => api.stop(project.name));
  if (stopped) store.set({ job: stopped });
}
