/** The export dialog: choose formats and effects, wait, download. */

import { api } from "./api.js";
import { attempt, get, make } from "./dom.js";
import { store } from "./store.js";

export function startExports() {
  const dialog = /** @type {HTMLDialogElement} */ (get("exports"));
  const choices = make("div");
  const done = make("input", { type: "checkbox" });
  const only = make("label", {}, done, " Only photos that are done");
  const go = make("button", { type: "submit", class: "main" }, "Export");
  const bar = make("progress", { hidden: true, "aria-label": "Export" });
  const link = make("a", { class: "button", download: "", hidden: true }, "Download");
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const form = make("form", {}, choices, only, make("div", { class: "row" }, bar, link, close, go));
  dialog.append(make("h2", { text: "Export" }), form);

  get("export").addEventListener("click", async () => {
    const { project } = store.get();
    const all = project && (await attempt(() => api.exportChoices(project.name)));
    if (!all) return;
    only.hidden = project.kind === "video";
    link.hidden = bar.hidden = true;
    go.disabled = false;
    choices.replaceChildren(
      ...group("Annotations", "formats", all.formats),
      ...group("Pictures and videos", "effects", all.effects),
    );
    dialog.showModal();
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { project } = store.get();
    const chosen = new FormData(form);
    if (!project) return;
    const [formats, effects] = [chosen.getAll("formats").map(String), chosen.getAll("effects").map(String)];
    link.hidden = true;
    const job = await attempt(() => api.export(project.name, { formats, effects, only_done: done.checked }));
    if (!job) return;
    [bar.hidden, go.disabled] = [false, true];
    store.set({ job });
  });

  store.on(["job"], () => {
    const { job } = store.get();
    if (job?.kind !== "export") return;
    if (job.total) Object.assign(bar, { max: job.total, value: job.done });
    if (job.state === "running") return;
    [bar.hidden, go.disabled] = [true, false];
    if (job.state !== "done" || !job.url) return;
    link.href = job.url;
    link.hidden = false;
    if (dialog.open) link.click();
  });
}

/** @param {string} title @param {string} name @param {readonly import("./types").ExportChoice[]} choices */
function group(title, name, choices) {
  if (!choices.length) return [];
  const boxes = choices.map((choice, index) => {
    const checked = name === "formats" && index === 0;
    const box = make("input", { type: "checkbox", name, value: choice.name, checked });
    return make("label", { title: choice.files }, box, choice.title);
  });
  return [make("section", {}, make("h2", { text: title }), make("div", { class: "choices" }, ...boxes))];
}
