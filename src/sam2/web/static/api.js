/** The server's calls, one function each. Each throws an ApiError if the server refuses or is not there. */

export class ApiError extends Error {
  /** @param {number} status of HTTP, 0 if no answer came @param {string} detail one sentence for people */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * @template [R=void]
 * @param {string} method
 * @param {string} path below /v1
 * @param {object} [body]
 * @returns {Promise<R>}
 */
async function call(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : undefined;
  const request = { method, headers, body: body && JSON.stringify(body) };
  const answer = await fetch(`/v1${path}`, request).catch(() => {
    throw new ApiError(0, "The studio does not answer: is it still running?");
  });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, problem.detail ?? `The studio answered ${answer.status}`);
  }
  return answer.status === 204 ? /** @type {R} */ (undefined) : answer.json();
}

const of = (/** @type {string} */ name) => `/projects/${encodeURIComponent(name)}`;

export const api = {
  /** @returns {Promise<import("./types").ServerState>} */
  server: () => call("GET", "/server"),

  /** @param {string} folder @returns {Promise<import("./types").MediaListing>} */
  files: (folder) => call("GET", `/files?folder=${encodeURIComponent(folder)}`),

  /** @returns {Promise<import("./types").ProjectSummary[]>} */
  projects: () => call("GET", "/projects"),

  /** @param {import("./types").NewProject} body @returns {Promise<import("./types").ProjectState>} */
  openProject: (body) => call("POST", "/projects", body),

  /** @param {string} name @returns {Promise<import("./types").ProjectState>} */
  project: (name) => call("GET", of(name)),

  /** @param {string} name @returns {Promise<void>} */
  deleteProject: (name) => call("DELETE", of(name)),

  /** @param {string} name @returns {Promise<import("./types").FrameSummary[]>} */
  frames: (name) => call("GET", `${of(name)}/frames`),

  /** @param {string} name @param {number} frame @returns {Promise<import("./types").FrameState>} */
  frame: (name, frame) => call("GET", `${of(name)}/frames/${frame}`),

  /** @param {string} name @param {number} frame @param {import("./types").Status} status
   * @returns {Promise<import("./types").FrameSummary>} */
  setStatus: (name, frame, status) => call("PATCH", `${of(name)}/frames/${frame}`, { status }),

  /** @param {string} name @param {number} frame @param {number} [size] longest side, pixels */
  imageUrl: (name, frame, size) => `/v1${of(name)}/frames/${frame}/image${size ? `?size=${size}` : ""}`,

  /** @param {string} name @param {number} frame @param {number} id @param {import("./types").Prompts} prompts
   * @returns {Promise<import("./types").FrameObject>} */
  putPrompts: (name, frame, id, prompts) => call("PUT", `${of(name)}/frames/${frame}/objects/${id}/prompts`, prompts),

  /** @param {string} name @param {number} frame @param {import("./types").Prompts} prompts @param {number | null} id
   * @returns {Promise<import("./types").Preview>} */
  preview: (name, frame, prompts, id) =>
    call("POST", `${of(name)}/frames/${frame}/preview${id === null ? "" : `?object_id=${id}`}`, prompts),

  /** @param {string} name @param {import("./types").NewObject} body @returns {Promise<import("./types").StudioObject>} */
  addObject: (name, body) => call("POST", `${of(name)}/objects`, body),

  /** @param {string} name @param {number} id @param {import("./types").ObjectChange} change
   * @returns {Promise<import("./types").StudioObject>} */
  changeObject: (name, id, change) => call("PATCH", `${of(name)}/objects/${id}`, change),

  /** @param {string} name @param {number} id @returns {Promise<void>} */
  deleteObject: (name, id) => call("DELETE", `${of(name)}/objects/${id}`),

  /** @param {string} name @param {number} start @param {number} stop not included
   * @returns {Promise<import("./types").FrameState[]>} */
  masks: (name, start, stop) => call("GET", `${of(name)}/masks?start=${start}&stop=${stop}`),

  /** @param {string} name @returns {Promise<import("./types").Timeline>} */
  timeline: (name) => call("GET", `${of(name)}/timeline`),

  /** @param {string} name @param {import("./types").TrackRequest} request @returns {Promise<import("./types").JobState>} */
  track: (name, request) => call("POST", `${of(name)}/track`, request),

  /** @param {string} name @param {number} frame @returns {Promise<import("./types").JobState>} */
  everything: (name, frame) => call("POST", `${of(name)}/frames/${frame}/everything`, {}),

  /** @param {string} name @returns {Promise<import("./types").JobState>} */
  stop: (name) => call("DELETE", `${of(name)}/job`),

  /** @param {string} name @returns {Promise<import("./types").ExportChoices>} */
  exportChoices: (name) => call("GET", `${of(name)}/exports/choices`),

  /** @param {string} name @param {import("./types").ExportRequest} request
   * @returns {Promise<import("./types").JobState>} */
  export: (name, request) => call("POST", `${of(name)}/exports`, request),

  /**
   * Listen to a project. The browser connects again by itself.
   *
   * @param {string} name
   * @param {{job: (job: import("./types").JobState) => void, frame: (frame: import("./types").FrameState) => void,
   *   project: (project: import("./types").ProjectState) => void}} hear
   * @returns {() => void} stop listening
   */
  events(name, hear) {
    const source = new EventSource(`/v1${of(name)}/events`);
    for (const [kind, tell] of Object.entries(hear)) {
      source.addEventListener(kind, (event) => tell(JSON.parse(/** @type {MessageEvent} */ (event).data)));
    }
    return () => source.close();
  },

  /**
   * Upload a file; `upload` adds it to what came before.
   *
   * @param {File} file
   * @param {string | null} upload
   * @param {(share: number) => void} progress 0..1
   * @returns {Promise<import("./types").UploadState>}
   */
  upload: (file, upload, progress) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch does not tell how far it is
      const more = upload ? `&upload=${encodeURIComponent(upload)}` : "";
      request.open("POST", `/v1/uploads?name=${encodeURIComponent(file.name)}${more}`);
      request.responseType = "json";
      request.upload.addEventListener("progress", (event) => progress(event.loaded / (event.total || 1)));
      request.addEventListener("error", () => reject(new ApiError(0, "The upload was cut off")));
      request.addEventListener("load", () => {
        const { status, response } = request;
        if (status < 300) resolve(response);
        else reject(new ApiError(status, response?.detail ?? `The studio answered ${status}`));
      });
      request.send(file);
    }),
};
