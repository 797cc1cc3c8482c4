/** Shortcuts, and the sheet that lists them. */

import { attempt, get, make } from "./dom.js";
import { remove } from "./objects.js";
import { goTo } from "./project.js";
import { store } from "./store.js";
import { goOn, setStatus, startTracking, stopWork, togglePlay } from "./timeline.js";
import { undo } from "./undo.js";

const SHEET = [
  ["Click", "the object is here"],
  ["Right click, Alt + click, Remove", "the object is not here"],
  ["Drag", "draw a box; drag a point to move it, click it to take it away"],
  ["Ctrl or Shift + click", "select the object under the pointer"],
  ["Wheel, pinch, + and -, 0", "zoom in and out, fit"],
  ["Space + drag, middle drag, two fingers", "move the picture"],
  ["C, X, B, E, V, H", "click, box, brush, eraser, select, pan"],
  ["[ and ]", "smaller and larger brush"],
  ["N, Tab through the list, Delete", "deselect for a new object, choose one, delete it"],
  ["1 to 9", "select an object"],
  ["Ctrl + Z, Ctrl + Shift + Z", "undo, redo"],
  ["Left and right, A and D", "previous and next frame or photo; with Shift ten"],
  ["Space", "play and stop"],
  ["T, Shift + T, Escape", "track forward, both ways, pause"],
  ["Enter", "photo done, next one"],
  ["P", "preview under the pointer on and off"],
  ["Arrows, Enter, Shift + Enter", "on the picture, reached by Tab: crosshair, add, remove"],
  ["?", "this sheet"],
];

/** @param {import("./stage.js").Stage} stage */
export function startKeys(stage) {
  const dialog = /** @type {HTMLDialogElement} */ (get("keys"));
  const rows = SHEET.flatMap(([keys, text]) => [make("dt", {}, make("kbd", { text: keys })), make("dd", { text })]);
  const close = make("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close");
  dialog.append(make("h2", { text: "Mouse and keys" }), make("dl", {}, ...rows), make("div", { class: "row" }, close));
  get("help").addEventListener("click", () => dialog.showModal());

  /** @type {Record<string, () => unknown>} */
  const keys = {
    c: () => store.set({ tool: "click" }), x: () => store.set({ tool: "box" }), b: () => store.set({ tool: "brush" }),
    e: () => store.set({ tool: "erase" }), v: () => store.set({ tool: "select" }), h: () => store.set({ tool: "pan" }),
    "[": () => store.set({ brushSize: Math.max(4, store.get().brushSize * 0.8) }),
    "]": () => store.set({ brushSize: Math.min(160, store.get().brushSize * 1.25) }),
    "+": stage.zoomIn, "=": stage.zoomIn, "-": stage.zoomOut, 0: stage.fit,
    n: () => store.set({ objectId: null }), p: () => store.set({ hover: !store.get().hover }),
    a: () => goOn(-1), d: () => goOn(1), ArrowLeft: () => goOn(-1), ArrowRight: () => goOn(1),
    t: () => startTracking("forward"), T: () => startTracking("both"),
    Escape: () => (stage.cancel(), stopWork()), Enter: () => setStatus("done"),
    Delete: deleteChosen, Backspace: deleteChosen, "?": () => dialog.showModal(),
  };
  addEventListener("keydown", (event) => {
    if (busy(event.target)) return;
    const key = event.key.length === 1 && event.key !== "T" ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && ["z", "y"].includes(key.toLowerCase())) {
      event.preventDefault();
      return void attempt(() => (key.toLowerCase() === "y" || event.shiftKey ? undo.redo() : undo.undo()));
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLInputElement && key.startsWith("Arrow")) return; // they move the slider
    const pressed = event.target instanceof HTMLElement && event.target.closest("button");
    if (event.code === "Space" && !pressed) return event.preventDefault();
    if (key === "Enter" && pressed) return;
    if (event.shiftKey && key.startsWith("Arrow")) goTo(store.get().frame + (key === "ArrowLeft" ? -10 : 10));
    else if (/^[1-9]$/.test(key)) selectNumber(Number(key));
    else if (key in keys) void keys[key]();
    else return;
    event.preventDefault();
  });
  addEventListener("keyup", (event) => {
    const pressed = event.target instanceof HTMLElement && event.target.closest("button");
    if (event.code === "Space" && !busy(event.target) && !pressed) togglePlay();
  });
}

/** Whether keys belong to what has the focus. @param {EventTarget | null} target */
function busy(target) {
  const typing = target instanceof HTMLElement && target.closest("input:not([type=range]), select, textarea");
  return document.querySelector("dialog[open]") || typing;
}

/** @param {number} number from 1 */
function selectNumber(number) {
  const { project, frame } = store.get();
  const object = project?.objects.filter((one) => one.frame == null || one.frame === frame)[number - 1];
  if (object) store.set({ objectId: object.id });
}

function deleteChosen() {
  const { project, objectId } = store.get();
  const object = project?.objects.find(({ id }) => id === objectId);
  if (object) void remove(object);
}
