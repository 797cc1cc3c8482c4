/** Elements, and what is said to people. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [about] attributes; `on...` are listeners, `text` is text, false leaves one out
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, about = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === "text") element.textContent = String(value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** @template {HTMLElement} [E=HTMLElement] @param {string} id @returns {E} */
export function get(id) {
  return /** @type {E} */ (document.getElementById(id));
}

/** @param {string} name of a symbol in icons.svg @returns {Element} */
export function icon(name) {
  const svg = /** @type {Element} */ (/** @type {Element} */ (document.querySelector("svg")).cloneNode(true));
  svg.firstElementChild?.setAttribute("href", `/static/icons.svg#${name}`);
  return svg;
}

/** Show a line for a while. @param {string} text @param {"info" | "error"} [kind] */
export function say(text, kind = "info") {
  const toasts = get("toasts");
  if ([...toasts.children].some((toast) => toast.textContent === text)) return;
  const toast = make("div", { class: `toast ${kind}`, text });
  toasts.append(toast);
  for (const open of [false, true]) toasts.togglePopover(open); // above whatever dialog is open
  setTimeout(() => toast.remove(), kind === "error" ? 7000 : 3500);
}

/** Do something; what goes wrong is said. @template T @param {() => Promise<T>} work @returns {Promise<T | undefined>} */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), "error");
    return undefined;
  }
}
