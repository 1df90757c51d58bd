// Recordings of the chosen camera: a list for each day, to play or download.

import { ask, clock, pathOf } from "./fleet.js";
import { at, make, write } from "./parts.js";

const shown = { camera: null, day: "", listed: "" };

function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function bounds(day) {
  const [year, month, date] = day.split("-").map(Number);
  const at = (days) => new Date(year, month - 1, date + days).getTime() / 1000;
  return { since: Math.max(0, at(0)), until: Math.max(0, at(1)) };
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function ofDay(camera, day) {
  const { since, until } = bounds(day);
  const answer = await ask(`${pathOf(camera, "/recordings")}?since=${since}&until=${until}`);
  return answer.ok ? answer.json() : { span: null, recordings: [], side_by_side: false };
}

// Requests the recordings of the chosen day; at first of the day of the last recording.
export async function getRecordings(camera) {
  if (shown.camera !== camera) {
    stopReplay();
    Object.assign(shown, { camera, day: "", listed: "" });
  }
  let { day } = shown;
  const changed = () => shown.camera !== camera || shown.day !== day; // during a request
  let told = await ofDay(camera, day || dayOf(Date.now() / 1000));
  if (changed()) return;
  if (!day && told.span) {
    day = dayOf(told.span[1]);
    shown.day = day;
    told = await ofDay(camera, day);
    if (changed()) return;
  }
  showDays(told.span);
  showList(camera, told);
}

function showDays(span) {
  const day = at("day");
  day.parentElement.hidden = !span;
  if (!span) return;
  day.min = dayOf(span[0]);
  day.max = dayOf(span[1]);
  if (day.value !== shown.day) day.value = shown.day;
}

function showList(camera, told) {
  write(at("recordings-note"), !told.span ? "" : told.side_by_side
    ? "New recordings show before (left) and after."
    : "Recordings show only the result. For before and after, set side_by_side = true.");
  const listed = JSON.stringify(told);
  if (listed === shown.listed) return; // the focus stays where it is
  shown.listed = listed;
  const items = told.recordings.map((recording) => item(camera, recording));
  const none = told.span ? "No recordings on this day" : "No recordings";
  at("recordings").replaceChildren(...(items.length ? items : [make("li", none)]));
}

function item(camera, recording) {
  const path = pathOf(camera, `/recordings/${encodeURIComponent(recording.name)}`);
  const until = recording.writing ? "now" : clock(recording.ends);
  const when = `${clock(recording.begins)} – ${until}`;
  const play = make("button", "Play", { type: "button", "aria-label": `Play ${when}` });
  play.addEventListener("click", () => replay(path, when));
  const link = make("a", "Download", { href: path, "aria-label": `Download ${when}` });
  link.setAttribute("download", `${camera}-${recording.name}`);
  const row = make("li");
  const large = make("span", size(recording.bytes), { class: "quiet" });
  row.append(make("span", when), large, play, link);
  return row;
}

function replay(path, when) {
  write(at("replay-error"), "");
  const video = at("replay");
  video.hidden = false;
  video.setAttribute("aria-label", `Recording ${when}`);
  video.src = path;
  video.play().catch(() => {}); // an error is told by its event
  video.focus();
}

function stopReplay() {
  const video = at("replay");
  video.hidden = true;
  video.removeAttribute("src");
  video.load();
  write(at("replay-error"), "");
}

export function listenToRecordings() {
  at("day").addEventListener("change", () => {
    if (!at("day").value) return;
    shown.day = at("day").value;
    getRecordings(shown.camera).catch(() => {}); // the next request tries again
  });
  at("replay").addEventListener("error", () => {
    if (!at("replay").hasAttribute("src")) return;
    stopReplay();
    write(at("replay-error"), "This browser cannot play it; download it, or set recording = " +
      '"mp4" for what comes next.');
  });
}
