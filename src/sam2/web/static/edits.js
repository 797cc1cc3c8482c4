/**
 * What a person says of objects, sent to the server: shown at once, sent in order, only the newest of what piles up,
 * rolled back if the server refuses, and each change a step that can be taken back.
 *
 * @typedef {import("./types").Prompts} Prompts
 * @typedef {import("./types").FrameObject} FrameObject
 * @typedef {import("./types").FrameState} FrameState
 * @typedef {import("./types").StudioObject} StudioObject
 * @typedef {{confirmed: FrameObject, wanted: Prompts | null, sending: Promise<void> | null}} Line
 */

/** @type {Prompts} */
export const NOTHING = { points: [], box: null, mask: null };

export class Edits {
  /**
   * @param {import("./types").Store} store
   * @param {typeof import("./api.js").api} api
   * @param {import("./undo.js").UndoStack} undo
   * @param {(text: string, kind?: "info" | "error") => void} say
   */
  constructor(store, api, undo, say) {
    this.store = store;
    this.api = api;
    this.undo = undo;
    this.say = say;
    /** @type {Map<string, Line>} */ this.lines = new Map();
    /** @type {Promise<number | null> | null} */ this.making = null;
  }

  /** What is known of a frame, null if nothing is. @param {number} frame @returns {FrameState | null} */
  frame(frame) {
    const { frameState, masksByFrame } = this.store.get();
    return frameState?.frame === frame ? frameState : masksByFrame.get(frame) ?? null;
  }

  /** @param {number} frame @param {number} id @returns {FrameObject} */
  object(frame, id) {
    const known = this.frame(frame)?.objects.find((object) => object.object_id === id);
    return known ?? { object_id: id, prompts: null, mask: null, area: 0, box: null, score: 0, source: null };
  }

  /** The selected object, if it may be seen on a frame. @param {number} frame @returns {StudioObject | null} */
  selected(frame) {
    const { project, objectId } = this.store.get();
    const found = project?.objects.find(({ id }) => id === objectId);
    return found && (found.frame == null || found.frame === frame) ? found : null;
  }

  /** What is said of the selected object on a frame. @param {number} frame @returns {Prompts} */
  prompts(frame) {
    const chosen = this.selected(frame);
    return (chosen && this.object(frame, chosen.id).prompts) || NOTHING;
  }

  /** Whether answers are awaited. */
  get busy() {
    return this.lines.size > 0 || this.making !== null;
  }

  /**
   * Say something else of the selected object, or of a new one if none is selected.
   *
   * @param {string} label of the step, for people
   * @param {number} frame
   * @param {(before: Prompts) => Prompts} change
   */
  async change(label, frame, change) {
    try {
      const id = this.selected(frame)?.id ?? (await (this.making ??= this.#make(frame)));
      const project = this.store.get().project?.name;
      if (id === null || project === undefined) return;
      const before = this.object(frame, id).prompts ?? NOTHING;
      const after = change(before);
      const { job } = this.store.get();
      const put = (/** @type {Prompts} */ prompts) => (this.store.set({ frame }), this.put(frame, id, prompts));
      const step = { label, undo: () => put(before), redo: () => put(after) };
      this.undo.push(step);
      await this.put(frame, id, after).catch((error) => {
        this.undo.drop(step);
        throw error;
      });
      if (job?.kind === "track" && job.state === "running") this.store.set({ frame }); // tracking went on before it paused
      const { score } = this.object(frame, id);
      announce(`${label}, frame ${frame + 1}, score ${Math.round(score * 100)} percent`);
    } catch (error) {
      this.say(error instanceof Error ? error.message : String(error), "error");
    }
  }

  /** Put what is said of an object on a frame. @param {number} frame @param {number} id @param {Prompts} prompts */
  put(frame, id, prompts) {
    const key = `${frame}:${id}`;
    const line = this.lines.get(key) ?? { confirmed: this.object(frame, id), wanted: null, sending: null };
    this.lines.set(key, line);
    line.wanted = prompts;
    this.#lay(frame, { ...this.object(frame, id), prompts, ...(prompts.mask && { mask: prompts.mask }) });
    line.sending ??= this.#send(line, frame, id).finally(() => this.lines.delete(key));
    return line.sending;
  }

  /** @param {Line} line @param {number} frame @param {number} id */
  async #send(line, frame, id) {
    const project = this.store.get().project?.name ?? "";
    const here = () => this.store.get().project?.name === project;
    try {
      while (line.wanted) {
        const prompts = line.wanted;
        line.wanted = null;
        line.confirmed = await this.api.putPrompts(project, frame, id, prompts);
        const newer = /** @type {Prompts | null} */ (line.wanted);
        if (here()) this.#lay(frame, newer ? { ...line.confirmed, prompts: newer } : line.confirmed);
      }
    } catch (error) {
      line.wanted = null;
      if (here()) this.#lay(frame, line.confirmed);
      throw error;
    }
  }

  /** A new object, selected. @returns {Promise<number | null>} its number */
  create() {
    return this.#make(this.store.get().frame);
  }

  /** @param {number} frame @returns {Promise<number | null>} */
  async #make(frame) {
    const { project } = this.store.get();
    if (!project) return null;
    try {
      const made = await this.api.addObject(project.name, project.kind === "images" ? { frame } : {});
      this.#list([made], true);
      this.undo.push({
        label: `New ${made.name}`,
        undo: async () => {
          await this.api.deleteObject(project.name, made.id);
          this.#list([made], false);
        },
        redo: async () => this.#list([await this.api.changeObject(project.name, made.id, { deleted: false })], true),
      });
      return made.id;
    } finally {
      this.making = null;
    }
  }

  /** Put objects on the list, or take them off. @param {StudioObject[]} objects @param {boolean} there */
  #list(objects, there) {
    const { project } = this.store.get();
    if (!project) return;
    const rest = project.objects.filter((other) => objects.every(({ id }) => id !== other.id));
    const all = there ? [...rest, ...objects].sort((one, other) => one.id - other.id) : rest;
    this.store.set({ project: { ...project, objects: all }, objectId: there ? objects[0].id : null });
  }

  /** Show what is known of an object. @param {number} frame @param {FrameObject} object */
  #lay(frame, object) {
    const state = this.frame(frame);
    if (!state) return;
    const rest = state.objects.filter((other) => other.object_id !== object.object_id);
    const objects = [...rest, object].sort((one, other) => one.object_id - other.object_id);
    const masksByFrame = new Map(this.store.get().masksByFrame).set(frame, { ...state, objects });
    const shown = this.store.get().frameState?.frame === frame;
    this.store.set({ masksByFrame, ...(shown && { frameState: { ...state, objects } }) });
  }
}

/** Tell a screen reader what was done. @param {string} text */
export function announce(text) {
  const status = document.getElementById("status");
  if (status) status.textContent = text;
}
