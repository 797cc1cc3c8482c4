/** The records of the server's calls, as sam2/web/schemas.py describes them, and the state of the page. */

import type { Rle } from "./rle.js";

export type Status = "todo" | "done" | "review" | "skipped";
export type Box = readonly [number, number, number, number];
export type Tool = "click" | "box" | "brush" | "erase" | "pan" | "select";
export interface Point { x: number; y: number; label: 0 | 1 }
export interface Prompts { points: readonly Point[]; box: Box | null; mask: Rle | null }
export interface FrameObject {
  object_id: number; prompts: Prompts | null; mask: Rle | null; area: number; box: Box | null; score: number;
  source: "prompts" | "tracking" | "everything" | null;
}
export interface FrameState {
  frame: number; name: string; width: number; height: number; status: Status; objects: readonly FrameObject[];
}
export interface FrameSummary { frame: number; name: string; status: Status; objects: number }
export interface Preview { mask: Rle; score: number }
export interface StudioObject {
  id: number; name: string; label: string; colour: string; visible: boolean; frame: number | null;
}
export interface NewObject { name?: string; label?: string; colour?: string; frame?: number }
export interface ObjectChange { name?: string; label?: string; colour?: string; visible?: boolean; deleted?: boolean }
export interface JobState {
  id: string; kind: "track" | "everything" | "export"; state: "running" | "paused" | "done" | "failed";
  done: number; total: number; frame: number | null; per_second: number | null; message: string; url: string | null;
}
export interface ProjectState {
  name: string; title: string; kind: "images" | "video"; model: string; num_frames: number; width: number;
  height: number; fps: number | null; objects: readonly StudioObject[]; labels: readonly string[];
  last_frame: number; statuses: Partial<Record<Status, number>>; job: JobState | null;
}
export interface ProjectSummary {
  name: string; title: string; kind: "images" | "video"; num_frames: number; changed: number; missing: boolean;
}
export interface MediaEntry {
  name: string; path: string; kind: "folder" | "image" | "video"; size: number | null; images: number | null;
}
export interface MediaListing { folder: string; parent: string | null; entries: readonly MediaEntry[] }
export interface UploadState { upload: string; kind: "images" | "video"; files: readonly string[]; size: number }
export interface NewProject { path?: string; upload?: string; name?: string; kind?: "video" }
export interface TrackRequest {
  direction: "forward" | "backward" | "both"; start: number; stop?: number; object_ids?: number[];
}
export interface ExportChoice { name: string; title: string; files: string }
export interface ExportChoices { formats: readonly ExportChoice[]; effects: readonly ExportChoice[] }
export interface ExportRequest { formats: string[]; effects: string[]; only_done: boolean }
export interface TimelineObject {
  object_id: number; prompted: readonly number[]; frames: readonly number[]; areas: readonly number[];
  scores: readonly number[];
}
export interface Timeline { num_frames: number; objects: readonly TimelineObject[] }
export interface ServerState {
  version: string; model: string; device: string; open: string | null; files: boolean; upload_limit: number;
}

export interface State {
  project: ProjectState | null; frame: number; frameState: FrameState | null; objectId: number | null;
  tool: Tool; brushSize: number; negative: boolean; playing: boolean; hover: boolean; opacity: number;
  filter: Status | "all"; job: JobState | null; masksByFrame: Map<number, FrameState>;
}
export interface Store {
  get(): State;
  set(patch: Partial<State>): void;
  on(keys: (keyof State)[], listener: () => void): void;
}
