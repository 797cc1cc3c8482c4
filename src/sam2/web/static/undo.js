/**
 * What can be taken back: a stack of steps, each with its inverse. Steps run one after the other, however quickly
 * they are asked for; a step that fails stays where it was.
 *
 * @typedef {{label: string, undo: () => Promise<unknown>, redo: () => Promise<unknown>}} Step
 * @typedef {{canUndo: boolean, canRedo: boolean, undoLabel: string, redoLabel: string}} UndoState
 */

const LIMIT = 300;

export class UndoStack {
  /** @type {Step[]} */ past = [];
  /** @type {Step[]} */ future = [];
  /** @type {Set<(state: UndoState) => void>} */ listeners = new Set();
  /** @type {Promise<unknown>} */ line = Promise.resolve();

  /** Note a step that has been done. What was taken back before is forgotten. @param {Step} step */
  push(step) {
    this.past.push(step);
    if (this.past.length > LIMIT) this.past.shift();
    this.future = [];
    this.tell();
  }

  /** Forget a step, for it failed after all. @param {Step} step */
  drop(step) {
    this.past = this.past.filter((other) => other !== step);
    this.future = this.future.filter((other) => other !== step);
    this.tell();
  }

  /** Take the newest step back. @returns {Promise<Step | null>} the step, null if there is none */
  undo() {
    return this.#move("undo");
  }

  /** Do again what was taken back last. @returns {Promise<Step | null>} */
  redo() {
    return this.#move("redo");
  }

  /** Forget everything, as when another project is opened. */
  clear() {
    this.past = [];
    this.future = [];
    this.tell();
  }

  /** Be told now and after every change. @param {(state: UndoState) => void} listener */
  on(listener) {
    this.listeners.add(listener);
    listener(this.state());
  }

  /** @returns {UndoState} */
  state() {
    const [last, next] = [this.past.at(-1), this.future.at(-1)];
    return { canUndo: !!last, canRedo: !!next, undoLabel: last?.label ?? "", redoLabel: next?.label ?? "" };
  }

  tell() {
    for (const listener of this.listeners) listener(this.state());
  }

  /** @param {"undo" | "redo"} way @returns {Promise<Step | null>} */
  #move(way) {
    const move = async () => {
      /** @type {["past", "future"] | ["future", "past"]} */
      const [from, to] = way === "undo" ? ["past", "future"] : ["future", "past"];
      const step = this[from].at(-1);
      if (!step) return null;
      await step[way]();
      const place = this[from].lastIndexOf(step);
      if (place < 0) return step; // all was forgotten meanwhile
      this[from].splice(place, 1);
      if (place === this[from].length) this[to].push(step); // a click during an undo forgets the future
      this.tell();
      return step;
    };
    const done = this.line.then(move);
    this.line = done.catch(() => null);
    return done;
  }
}

export const undo = new UndoStack();
