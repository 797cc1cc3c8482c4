/** The stage: picture, masks and prompts of the frame shown, and what hands do to them. */

/**
 * @param {HTMLElement} host
 * @param {any} store
 * @param {any} api
 * @param {import("./undo.js").UndoStack} undo
 * @param {(text: string, kind?: "info" | "error") => void} say
 * @returns {{zoomIn: () => void, zoomOut: () => void, fit: () => void, cancel: () => void}}
 */
export function startStage(host, store, api, undo, say) {
  return { zoomIn() {}, zoomOut() {}, fit() {}, cancel() {} };
}
