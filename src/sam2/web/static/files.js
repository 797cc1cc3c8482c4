/** Opening: drop, choose or take from the list of files; projects that are there already. */

import { api } from "./api.js";
import { attempt, get, icon, make, say } from "./dom.js";
import { openProject } from "./project.js";
import { store } from "./store.js";

/** @returns {() => Promise<void>} shows the dialog */
export function startFiles() {
  const dialog = /** @type {HTMLDialogElement} */ (get("files"));
  const kinds = { accept: "image/*,video/*,.zip", "aria-label": "Files" };
  const choose = make("input", { type: "file", multiple: true, hidden: true, ...kinds });
  const bar = make("progress", { max: 1, value: 0, hidden: true, "aria-label": "Upload" });
  const drop = make("div", { class: "drop" }, "Drop a photo, photos or a video here",
    make("button", { type: "button", class: "main", onclick: () => choose.click() }, "Choose files"), choose, bar);
  const [files, projects] = [make("section"), make("section")];
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.append(make("h2", { text: "Open" }), drop, files, projects, make("div", { class: "row" }, close));

  const open = async (/** @type {import("./types").NewProject | string} */ what) => {
    if (await openProject(what)) dialog.close();
  };
  const upload = async (/** @type {File[]} */ all) => {
    if (!all.length) return;
    bar.hidden = false;
    /** @type {string | null} */ let id = null;
    for (const [index, file] of all.entries()) {
      const came = await attempt(() => api.upload(file, id, (share) => (bar.value = (index + share) / all.length)));
      id = came?.upload ?? id;
    }
    bar.hidden = true;
    if (id) await open({ upload: id });
  };
  choose.addEventListener("change", () => void upload([...(choose.files ?? [])]).then(() => (choose.value = "")));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => void (event.relatedTarget || document.body.classList.remove("dropping")));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    void upload([...(event.dataTransfer?.files ?? [])]);
  });

  const show = async () => {
    close.hidden = !store.get().project;
    if (!dialog.open) dialog.showModal();
    const server = await attempt(() => api.server());
    files.replaceChildren();
    if (server?.files) void list(files, "", open);
    await listProjects(projects, open);
  };
  get("open").addEventListener("click", () => void show());
  return show;
}

/** @param {HTMLElement} into @param {string} folder @param {(what: import("./types").NewProject) => void} open */
async function list(into, folder, open) {
  const listing = await attempt(() => api.files(folder));
  if (!listing) return;
  const { entries, parent } = listing;
  const photos = entries.filter(({ kind }) => kind === "image").length;
  const rows = entries.map(({ name, path, kind, images }) => {
    const go = () => (kind === "folder" ? void list(into, path, open) : open({ path }));
    const note = kind === "folder" ? (images ? ` folder, ${images} photos` : " folder") : ` ${kind}`;
    return make("li", {}, make("button", { type: "button", onclick: go }, name, make("small", { text: note })));
  });
  const up = make("button", { type: "button", onclick: () => void list(into, parent ?? "", open) }, "Up");
  if (parent !== null) rows.unshift(make("li", {}, up));
  const all = (/** @type {string} */ text, /** @type {"video" | undefined} */ kind) =>
    make("button", { type: "button", onclick: () => open({ path: listing.folder, kind }) }, text);
  const both = [all(`Open all ${photos} photos`, undefined), all("Open them as the frames of a video", "video")];
  const head = make("h2", { text: listing.folder || "Files" });
  into.replaceChildren(head, ...(photos > 1 ? both : []), make("ul", { class: "list" }, ...rows));
}

/** @param {HTMLElement} into @param {(what: string) => void} open */
async function listProjects(into, open) {
  const projects = (await attempt(() => api.projects())) ?? [];
  const rows = projects.map(({ name, title, kind, num_frames, missing }) => {
    const note = missing ? " its files are gone" : ` ${kind === "video" ? "video" : "photos"}, ${num_frames}`;
    const about = { type: "button", onclick: () => open(name) };
    const go = make("button", about, title, make("small", { text: note }));
    const drop = async () => {
      if (!confirm(`Delete the project ${title} with all its masks? The pictures stay.`)) return;
      await attempt(() => api.deleteProject(name));
      say(`${title} is deleted`);
      if (store.get().project?.name === name) store.set({ project: null });
      await listProjects(into, open);
    };
    const label = `Delete project ${title}`;
    const press = { type: "button", class: "plain", "aria-label": label, onclick: () => void drop() };
    return make("li", {}, go, make("button", press, icon("bin")));
  });
  into.replaceChildren(...(rows.length ? [make("h2", { text: "Projects" }), make("ul", { class: "list" }, ...rows)] : []));
}
