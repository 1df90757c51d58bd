// Shared by the parts of the console: requests, states in words, and repeated calls.

import { at, make, repeat as act, write } from "./parts.js";

export async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401 && path !== "/api/session") document.dispatchEvent(new Event("login"));
  return answer;
}

export function send(path, method, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method, headers, body: JSON.stringify(body) });
}

export function pathOf(camera, end = "") {
  return `/api/cameras/${encodeURIComponent(camera)}${end}`;
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
}

// The time, after its date if that is not today.
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock(seconds) : `${date.toLocaleDateString()} ${clock(seconds)}`;
}

export function milliseconds(seconds) {
  return `${Math.round(seconds * 1000)} ms`;
}

export const STATES = {
  connecting: "Connecting", live: "Live", lost: "No signal", refused: "Refused", stopped: "Stopped",
};

export function badge(state) {
  return make("span", STATES[state] ?? state, { class: "badge", "data-state": state });
}

export function showState(node, state) {
  node.dataset.state = state;
  write(node, STATES[state] ?? state);
}

// One line about a camera: frame rate and delay, or since when it is not live.
export function brief(camera) {
  return camera.state === "live"
    ? `${camera.fps.toFixed(1)} fps · ${milliseconds(camera.delay_seconds)}`
    : `since ${moment(camera.since)}`;
}

// Keeps a list with one item for each camera, in their order. `fresh` makes a new item's content.
export function keepItems(list, cameras, fresh) {
  const names = cameras.map((camera) => camera.name);
  for (const item of [...list.children]) if (!names.includes(item.dataset.name)) item.remove();
  return cameras.map((camera, place) => {
    let item = [...list.children].find((known) => known.dataset.name === camera.name);
    if (!item) {
      item = make("li", "", { "data-name": camera.name });
      item.append(fresh(camera.name));
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    return item;
  });
}

// Shows in the page whether the server answers.
export function repeat(what, pause) {
  return act(what, pause, (well) => {
    at("offline").hidden = well;
  });
}
