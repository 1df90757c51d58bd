// The queue: jobs that run, wait and are done.

import { ask, get, query, send } from "./net.js";
import { at, keepFocus, make, write } from "./parts.js";
import { play } from "./player.js";
import { bytes, number, span, t } from "./texts.js";

const page = { local: false, states: new Map(), told: () => {}, look: () => {} };

// Show the queue that the server returns.
export async function lookAtQueue() {
  const queue = await get("/api/jobs");
  write(at("space"), t("space", { size: bytes(queue.free_bytes) }));
  at("space").title = queue.folder;
  keepFocus(at("queue"), at("queue-title"), () => show(queue.jobs));
  at("idle").hidden = queue.jobs.length > 0;
  announce(queue.jobs);
}

function show(jobs) {
  const list = at("queue");
  const ids = jobs.map((job) => job.id);
  for (const item of [...list.children]) if (!ids.includes(item.dataset.key)) item.remove();
  jobs.forEach((job, place) => {
    let item = [...list.children].find((known) => known.dataset.key === job.id);
    item ??= newItem(job);
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    fill(item, job, place, jobs.length);
  });
}

function announce(jobs) {
  for (const job of jobs) {
    const before = page.states.get(job.id);
    if (before === undefined || before === job.state) continue;
    if (job.state === "done") page.told(t("isDone", { name: job.name }));
    if (job.state === "failed") page.told(t("isFailed", { name: job.name }));
  }
  page.states = new Map(jobs.map((job) => [job.id, job.state]));
}

function newItem(job) {
  const item = make("li", "", { "data-key": job.id });
  item.append(
    make("span", "", { class: "who" }),
    make("img", "", { alt: "", hidden: "" }),
    make("progress", "", { max: 1, value: 0 }),
    make("span", "", { class: "what" }),
    make("p", "", { class: "error" }),
    make("p", "", { class: "warning" }),
    make("div", "", { class: "does" }),
  );
  return item;
}

function fill(item, job, place, count) {
  const [who, picture, bar, what, error, warning, does] = item.children;
  item.dataset.state = job.state;
  write(who, job.output);
  const share = shareOf(job);
  bar.hidden = job.state === "done" || job.state === "failed";
  bar.value = share;
  bar.setAttribute("aria-label", t("progressOf", { name: job.name }));
  write(what, told(job, share));
  write(error, job.error);
  write(warning, job.warnings.join("; "));
  warning.hidden = !job.warnings.length;
  showNow(picture, job);
  const key = [job.state, place, count, document.documentElement.lang].join();
  if (does.dataset.key === key) return;
  does.dataset.key = key;
  does.replaceChildren(...buttons(job, place, count));
}

function shareOf(job) {
  const { frames, surveyed, total } = job.progress;
  return total ? Math.min(1, (frames || surveyed) / total) : 0;
}

function told(job, share) {
  const { frames, surveyed, fps, left_seconds: seconds } = job.progress;
  const left = seconds === null ? t("unknownLeft") : t("left", { time: span(seconds) });
  const values = { share: number(Math.floor(100 * share)), fps: number(fps, 1), left };
  switch (job.state) {
    case "running": return t(frames ? "working" : surveyed ? "surveying" : "starting", values);
    case "paused": return t("paused", values);
    case "done": return t("done", { frames: number(frames), time: span(job.seconds) });
    default: return t(job.state);
  }
}

// The present picture is requested once a second.
function showNow(picture, job) {
  picture.hidden = job.state !== "running" || !job.progress.frames;
  if (picture.hidden || document.hidden) return;
  picture.src = query(`/api/jobs/${job.id}/now.jpg`, { of: job.progress.frames });
}

function buttons(job, place, count) {
  const path = `/api/jobs/${job.id}`;
  const found = [];
  const add = (key, act) => {
    const button = make("button", t(key), { type: "button", class: "small", "data-does": key });
    button.setAttribute("aria-label", t("doOf", { what: t(key), name: job.output }));
    button.addEventListener("click", () => attempt(act));
    found.push(button);
  };
  const state = (wanted) => () => send(path, "PATCH", { state: wanted });
  const move = (to) => () => send(path, "PATCH", { place: to });
  if (job.state === "done") {
    add("play", () => play(job));
    found.push(saveLink(job, path));
    if (page.local) add("show", () => ask(`${path}/show`, { method: "POST" }));
  }
  if (job.state === "running" || job.state === "waiting") add("pause", state("paused"));
  if (job.state === "paused") add("goOn", state("waiting"));
  if (job.state === "failed") add("again", state("waiting"));
  if (place > 0) add("up", move(place - 1));
  if (place < count - 1) add("down", move(place + 1));
  const ended = job.state === "done" || job.state === "failed";
  add(ended ? "remove" : "cancel", () => ask(path, { method: "DELETE" }));
  return found;
}

function saveLink(job, path) {
  const link = make("a", t("save"), {
    href: query(`${path}/result`, { save: true }), download: job.output, class: "small",
    "data-does": "save",
  });
  link.setAttribute("aria-label", t("doOf", { what: t("save"), name: job.output }));
  return link;
}

async function attempt(act) {
  try {
    await act();
    write(at("queue-error"), "");
  } catch (problem) {
    write(at("queue-error"), problem.message);
  }
  page.look();
}

// `local` says whether a file manager can be opened. `look` requests the queue at once.
export function listenToQueue(local, look, said) {
  Object.assign(page, { local, look, told: said });
}
