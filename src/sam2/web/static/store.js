/**
 * The state of the page: one record, replaced and never changed; who listens to a key is told when it is another value.
 *
 * @typedef {import("./types").State} State
 */

/** @type {State} */
let state = {
  project: null,
  frame: 0,
  frameState: null,
  objectId: null,
  tool: "click",
  brushSize: 32,
  negative: false,
  playing: false,
  hover: true,
  opacity: 0.45,
  filter: "all",
  job: null,
  masksByFrame: new Map(),
};
/** @type {{keys: (keyof State)[], listener: () => void}[]} */
const listeners = [];

/** @type {import("./types").Store} */
export const store = {
  get: () => state,
  set(patch) {
    const before = state;
    state = { ...state, ...patch };
    const now = state;
    for (const { keys, listener } of listeners) if (keys.some((key) => before[key] !== now[key])) listener();
  },
  on: (keys, listener) => void listeners.push({ keys, listener }),
};
