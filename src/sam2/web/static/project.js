/** The open project: opening it, going to a frame, hearing what happens to it. Project and frame are in the address. */

import { api } from "./api.js";
import { attempt, say } from "./dom.js";
import { store } from "./store.js";
import { undo } from "./undo.js";

const REST = 70; // ms that a frame is looked at before the server is asked about it
let [stopHearing, timer] = [() => {}, 0];
let known = new Set(); // numbers of objects that were there before everything was looked for

/** Open a file, an upload or a project that is there. @param {import("./types").NewProject | string} what */
export async function openProject(what) {
  const project = await attempt(() => (typeof what === "string" ? api.project(what) : api.openProject(what)));
  if (!project) return false;
  stopHearing();
  undo.clear();
  const wanted = Number(new URLSearchParams(location.hash.slice(1)).get("frame") ?? NaN);
  const resumed = typeof what === "string" && wanted >= 0 && wanted < project.num_frames;
  const frame = resumed ? wanted : Math.min(project.last_frame, project.num_frames - 1);
  store.set({ project: null, frameState: null, masksByFrame: new Map(), playing: false });
  const objectId = project.objects.find((object) => object.frame == null || object.frame === frame)?.id ?? null;
  store.set({ project, frame, objectId, job: project.job });
  stopHearing = api.events(project.name, { job: heardJob, frame: heardFrame, project: heardProject });
  await loadFrame();
  return true;
}

/** @param {number} frame clamped to those there are */
export function goTo(frame) {
  const { project } = store.get();
  if (project) store.set({ frame: Math.max(0, Math.min(project.num_frames - 1, Math.round(frame))) });
}

/** Ask for what is known of the frame shown. */
export async function loadFrame() {
  const { project, frame } = store.get();
  if (!project) return;
  const here = () => store.get().project?.name === project.name && store.get().frame === frame;
  const frameState = await attempt(() => api.frame(project.name, frame));
  if (frameState && here()) keep(frameState);
}

/** Find all objects of the frame shown. */
export async function findEverything() {
  const { project, frame } = store.get();
  if (!project) return;
  known = new Set(project.objects.map(({ id }) => id));
  store.set({ job: await api.everything(project.name, frame) });
}

/** Ask again for objects and all that is known of the frame, as after something was deleted or brought back. */
export async function refresh() {
  const name = store.get().project?.name;
  const project = name && (await attempt(() => api.project(name)));
  if (!project || store.get().project?.name !== name) return;
  heardProject(project);
  await loadFrame();
}

/** @param {import("./types").FrameState} state */
function keep(state) {
  const masksByFrame = new Map(store.get().masksByFrame).set(state.frame, state);
  store.set({ masksByFrame, ...(state.frame === store.get().frame && { frameState: state }) });
}

/** @param {import("./types").JobState} job */
function heardJob(job) {
  const before = store.get().job;
  store.set({ job });
  if (job.state === "running" || (before?.id === job.id && before.state !== "running")) return;
  if (job.state === "failed") say(job.message || "The work failed", "error");
  else if (job.message) say(job.message);
  if (job.kind === "everything") void refresh().then(noteFound);
  else if (job.kind === "track") void refresh();
}

/** What was found is one step to take back. */
function noteFound() {
  const { project } = store.get();
  const found = project?.objects.filter(({ id }) => !known.has(id)) ?? [];
  if (!project || !found.length) return;
  const all = async (/** @type {boolean} */ deleted) => {
    goTo(found[0].frame ?? store.get().frame);
    for (const { id } of found) await api.changeObject(project.name, id, { deleted });
    await refresh();
  };
  undo.push({ label: `Everything: ${found.length} objects`, undo: () => all(true), redo: () => all(false) });
}

/** @param {import("./types").FrameState} state */
function heardFrame(state) {
  const { job, playing } = store.get();
  keep(state);
  if (job?.kind === "track" && job.state === "running" && !playing) store.set({ frame: state.frame, frameState: state });
}

/** @param {import("./types").ProjectState} project */
function heardProject(project) {
  const { objectId, frame, job } = store.get();
  const there = project.objects.some(({ id }) => id === objectId);
  const other = project.objects.find(({ visible, frame: at }) => visible && (at == null || at === frame));
  const same = project.job?.id === job?.id; // then its own events are newer
  store.set({ project, objectId: there ? objectId : other?.id ?? null, job: same ? job : project.job });
}

store.on(["frame", "project"], () => {
  const { project, frame, frameState, masksByFrame } = store.get();
  if (!project) return;
  history.replaceState(null, "", `#${new URLSearchParams({ project: project.name, frame: String(frame) })}`);
  if (frameState?.frame !== frame) store.set({ frameState: masksByFrame.get(frame) ?? null });
});

store.on(["frame"], () => {
  const { project, frame, objectId } = store.get();
  if (!project) return;
  if (project.kind === "images") {
    const mine = project.objects.filter((object) => object.frame === frame);
    if (!mine.some(({ id }) => id === objectId)) store.set({ objectId: mine[0]?.id ?? null });
  }
  clearTimeout(timer);
  timer = window.setTimeout(() => void loadFrame(), store.get().playing ? 4 * REST : REST);
});
