/** Puts the page together. */

import { api } from "./api.js";
import { attempt, get, icon, say } from "./dom.js";
import { startExports } from "./exporting.js";
import { startFiles } from "./files.js";
import { startKeys } from "./keys.js";
import { startObjects } from "./objects.js";
import { findEverything, openProject } from "./project.js";
import { Stage } from "./stage.js";
import { store } from "./store.js";
import { startTimeline } from "./timeline.js";
import { undo } from "./undo.js";

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-icon]"))) {
  button.prepend(icon(button.dataset.icon ?? ""));
}

const stage = new Stage(get("stage"), store, api, undo, say);
startObjects(stage.edits);
startTimeline();
startExports();
const showFiles = startFiles();
startKeys(stage);

for (const way of /** @type {const} */ (["undo", "redo"])) {
  const button = get(way);
  button.addEventListener("click", () => void attempt(() => undo[way]()));
}
undo.on(({ canUndo, canRedo, undoLabel, redoLabel }) => {
  Object.assign(get("undo"), { disabled: !canUndo, title: undoLabel });
  Object.assign(get("redo"), { disabled: !canRedo, title: redoLabel });
});

const tools = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-tool]"));
for (const button of tools) {
  button.addEventListener("click", () => store.set({ tool: /** @type {import("./types").Tool} */ (button.dataset.tool) }));
}
get("negative").addEventListener("click", () => store.set({ negative: !store.get().negative }));
get("fit").addEventListener("click", () => stage.fit());
const size = /** @type {HTMLInputElement} */ (get("brush-size"));
size.addEventListener("input", () => store.set({ brushSize: Number(size.value) }));
store.on(["tool", "negative", "brushSize"], () => {
  const { tool, negative, brushSize } = store.get();
  for (const button of tools) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  get("negative").setAttribute("aria-pressed", String(negative));
  size.value = String(brushSize);
  get("size").hidden = tool !== "brush" && tool !== "erase";
});

get("everything").addEventListener("click", () => void attempt(findEverything));
store.on(["project", "job"], () => {
  const { project, job } = store.get();
  document.body.classList.toggle("empty", !project);
  get("title").textContent = document.title = project?.title ?? "Studio";
  /** @type {HTMLButtonElement} */ (get("everything")).disabled = job?.state === "running";
});

const started = new URLSearchParams(location.hash.slice(1)).get("project");
const name = started ?? (await attempt(() => api.server()))?.open;
if (!name || !(await openProject(name))) await showFiles();
