/** The list of objects: colour, name, class, visibility; which one is selected. */

import { api } from "./api.js";
import { attempt, get, icon, make } from "./dom.js";
import { refresh } from "./project.js";
import { store } from "./store.js";
import { undo } from "./undo.js";

/** @typedef {import("./types").StudioObject} StudioObject */

/** @param {import("./edits.js").Edits} edits */
export function startObjects(edits) {
  const list = make("ul", { "aria-label": "Objects" });
  const hint = make("p", { class: "hint", text: "Click on something in the picture: it becomes an object." });
  const labels = make("datalist", { id: "labels" });
  const add = make("button", { type: "button", onclick: () => void attempt(() => edits.create()) }, "New object");
  get("objects").append(make("header", {}, make("h2", { text: "Objects" }), add), hint, list, labels);
  const draw = () => {
    const { project, objectId, frame } = store.get();
    const objects = project?.objects.filter((object) => object.frame == null || object.frame === frame) ?? [];
    hint.hidden = objects.length > 0 || !project;
    add.disabled = !project;
    labels.replaceChildren(...(project?.labels ?? []).map((value) => make("option", { value })));
    if (list.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement) return; // typing
    list.replaceChildren(...objects.map((object) => row(object, object.id === objectId)));
  };
  list.addEventListener("focusout", () => setTimeout(draw));
  list.addEventListener("keydown", ({ key, target: at }) => key === "Enter" && at instanceof HTMLInputElement && at.blur());
  store.on(["project", "objectId"], draw);
  store.on(["frame"], () => store.get().project?.kind === "images" && draw());
  draw();
}

/** @param {StudioObject} object @param {boolean} chosen */
function row(object, chosen) {
  const { id, name, label, visible } = object;
  const choose = () => store.get().objectId !== id && store.set({ objectId: id });
  const input = (/** @type {"name" | "label" | "colour"} */ key, /** @type {Record<string, unknown>} */ about) => {
    const changed = (/** @type {Event} */ event) => {
      const { value } = /** @type {HTMLInputElement} */ (event.target);
      if (value.trim() && value !== object[key]) void change(object, { [key]: value });
    };
    return make("input", { value: object[key], onchange: changed, onfocus: choose, autocomplete: "off", ...about });
  };
  const press = (/** @type {() => void} */ work) => (/** @type {Event} */ event) => {
    event.stopPropagation();
    work();
  };
  const eye = make("button", {
    type: "button", class: "plain", "aria-pressed": !visible && "true", "aria-label": `${visible ? "Hide" : "Show"} ${name}`,
    onclick: press(() => void change(object, { visible: !visible })),
  }, icon(visible ? "eye" : "shut"));
  const bin = make("button", {
    type: "button", class: "plain", "aria-label": `Delete ${name}`, onclick: press(() => void remove(object)),
  }, icon("bin"));
  const names = make("div", { class: "names" }, input("name", { "aria-label": `Name of ${name}` }),
    input("label", { class: "label", list: "labels", "aria-label": `Class of ${name}` }));
  const shade = input("colour", { type: "color", "aria-label": `Colour of ${name}` });
  const about = { class: `${chosen ? "chosen" : ""} ${visible ? "" : "hidden"}`, "aria-label": `${name}, ${label}` };
  return make("li", { ...about, "aria-current": chosen && "true", onclick: choose }, shade, names, eye, bin);
}

/** @param {StudioObject} object @param {Partial<StudioObject>} after */
async function change(object, after) {
  const keys = /** @type {(keyof StudioObject)[]} */ (Object.keys(after));
  const before = Object.fromEntries(keys.map((key) => [key, object[key]]));
  const put = async (/** @type {import("./types").ObjectChange} */ values) => {
    const { project } = store.get();
    if (!project) return;
    const made = await api.changeObject(project.name, object.id, values);
    const now = store.get().project ?? project;
    store.set({ project: { ...now, objects: now.objects.map((other) => (other.id === made.id ? made : other)) } });
  };
  const done = await attempt(async () => (await put(/** @type {object} */ (after)), true));
  const redo = () => put(/** @type {object} */ (after));
  if (done) undo.push({ label: `Change ${object.name}`, undo: () => put(before), redo });
}

/** @param {StudioObject} object */
export async function remove(object) {
  const name = store.get().project?.name ?? "";
  const gone = async () => (await api.deleteObject(name, object.id), await refresh());
  const back = async () => {
    await api.changeObject(name, object.id, { deleted: false });
    await refresh();
    store.set({ objectId: object.id });
  };
  const step = { label: `Delete ${object.name}`, undo: back, redo: gone };
  await attempt(() => api.deleteObject(name, object.id).then(() => undo.push(step)).then(refresh)); // seen when undoable
}
