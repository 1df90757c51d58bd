// The page of the console: one look at the fleet a second, and pictures of the chosen camera.

import { at, listenToDivider, make, repeat, write } from "./parts.js";

const LOOK_MS = 1000;
const PICTURE_MS = 250;
const STILL_MS = 2000; // where people want less motion
const SETTLE_MS = 1500; // after a change the page shows what was asked for, not yet what is
const SEND_MS = 60;
const page = {
  cameras: [], chosen: null, states: new Map(), picture: null, divider: 50, tag: "", touched: 0,
  ratio: 1,
};

async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401 && path !== "/api/session") showLogin();
  return answer;
}

function send(path, method, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method, headers, body: JSON.stringify(body) });
}

function cameraPath(end = "") {
  return `/api/cameras/${encodeURIComponent(page.chosen)}${end}`;
}

// ---- texts

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

function milliseconds(seconds) {
  return `${Math.round(seconds * 1000)} ms`;
}

const STATES = {
  connecting: "Connecting", live: "Live", lost: "No signal", refused: "Refused", stopped: "Stopped",
};

function badge(state) {
  return make("span", STATES[state] ?? state, { class: "badge", "data-state": state });
}

// ---- the list of cameras

function showList() {
  const list = at("cameras");
  const names = page.cameras.map((camera) => camera.name);
  for (const item of [...list.children]) if (!names.includes(item.dataset.name)) item.remove();
  page.cameras.forEach((camera, place) => {
    let item = [...list.children].find((known) => known.dataset.name === camera.name);
    if (!item) {
      item = make("li", "", { "data-name": camera.name });
      item.append(listButton(camera.name));
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    fillButton(item.firstChild, camera);
  });
  at("empty").hidden = page.cameras.length > 0;
}

function listButton(name) {
  const button = make("button", "", { type: "button" });
  button.append(make("span", name, { class: "who" }), badge("connecting"),
    make("span", "", { class: "what" }));
  button.addEventListener("click", () => choose(name));
  return button;
}

function fillButton(button, camera) {
  const [, state, what] = button.children;
  button.setAttribute("aria-pressed", String(camera.name === page.chosen));
  state.dataset.state = camera.state;
  write(state, STATES[camera.state] ?? camera.state);
  write(what, camera.state === "live"
    ? `${camera.fps.toFixed(1)} fps · ${milliseconds(camera.delay_seconds)}`
    : `since ${clock(camera.since)}`);
}

function choose(name) {
  if (page.chosen !== name) {
    Object.assign(page, { chosen: name, picture: null, tag: "", touched: 0 });
    at("setting-error").textContent = "";
    draw();
    look.soon();
    pictures.soon();
  }
  showList();
  showCamera();
}

function announceChanges() {
  const told = [];
  for (const camera of page.cameras) {
    const before = page.states.get(camera.name);
    const now = camera.state;
    if (before !== undefined && before !== now) {
      if (now === "lost") told.push(`Camera ${camera.name} lost: no signal.`);
      else if (now === "refused") told.push(`Camera ${camera.name} refused the password.`);
      else if (now === "live") told.push(`Camera ${camera.name} is live.`);
    }
  }
  page.states = new Map(page.cameras.map((camera) => [camera.name, camera.state]));
  if (told.length) at("announce").textContent = told.join(" ");
}

// ---- the chosen camera

function showCamera() {
  const camera = page.cameras.find((known) => known.name === page.chosen);
  at("camera").hidden = !camera;
  if (!camera) return;
  write(at("name"), camera.name);
  write(at("state"), STATES[camera.state] ?? camera.state);
  at("state").dataset.state = camera.state;
  write(at("size"), camera.width ? `${camera.width} × ${camera.height}` : "");
  write(at("url"), camera.url);
  const gone = camera.state !== "live";
  at("stage").classList.toggle("lost", gone);
  at("veil").hidden = !gone;
  if (gone) write(at("veil"), `${STATES[camera.state]} since ${clock(camera.since)}`);
  at("picture").setAttribute("aria-label",
    `Picture of ${camera.name}, before on the left, after on the right`);
  if (Date.now() - page.touched > SETTLE_MS) showLight(camera);
  showFigures(camera);
  showSinks(camera);
  showErrors(camera);
}

function showFigures(camera) {
  const figures = [
    ["Frames per second", camera.fps.toFixed(1)],
    ["Delay", milliseconds(camera.delay_seconds)],
    ["Ratio now", camera.ratio.toFixed(2)],
    ["Frames in", camera.frames_in.toLocaleString("en")],
    ["Frames out", camera.frames_out.toLocaleString("en")],
    ["Dropped", camera.dropped.toLocaleString("en")],
    ["Damaged", camera.damaged.toLocaleString("en")],
    ["Waiting", String(camera.queue)],
    ["Reconnects", String(camera.reconnects)],
  ];
  const list = at("figures");
  if (!list.children.length) {
    for (const [name] of figures) {
      const pair = make("div");
      pair.append(make("dt", name), make("dd"));
      list.append(pair);
    }
  }
  figures.forEach(([, value], place) => write(list.children[place].lastChild, value));
}

function showLines(list, lines) {
  const kept = lines.join("\n");
  if (list.dataset.kept === kept) return;
  list.dataset.kept = kept;
  list.replaceChildren(...lines.map((line) => make("li", line)));
}

function showSinks(camera) {
  const lines = camera.sinks.map((sink) => {
    const lost = sink.dropped ? `, ${sink.dropped} not written` : "";
    return `${sink.url}: ${sink.state}, ${sink.frames} frames${lost}`;
  });
  showLines(at("sinks"), lines.length ? lines : ["None"]);
}

function showErrors(camera) {
  const lines = camera.error ? [`${clock(camera.error_time)} ${camera.error}`] : [];
  for (const sink of camera.sinks) if (sink.error) lines.push(`${sink.url}: ${sink.error}`);
  showLines(at("errors"), lines.length ? lines : ["None"]);
}

// ---- ratio and target; the slider's scale is logarithmic

function showLight(camera) {
  const auto = camera.wanted_ratio === "auto";
  at("auto").checked = auto;
  at("ratio").value = Math.log10(auto ? camera.ratio : camera.wanted_ratio);
  at("target").value = camera.target;
  page.ratio = camera.ratio;
  nameLight();
}

function nameLight() {
  // An automatic ratio may be higher than the slider goes.
  const ratio = at("auto").checked ? page.ratio : 10 ** Number(at("ratio").value);
  const told = ratio.toPrecision(2);
  write(at("ratio-value"), at("auto").checked ? `auto, ${told}` : told);
  at("ratio").setAttribute("aria-valuetext", at("auto").checked ? `automatic, ${told}` : told);
  write(at("target-value"), Number(at("target").value).toFixed(2));
}

const changes = { wanted: null, running: false };

function change(light) {
  page.touched = Date.now();
  nameLight();
  const path = cameraPath();
  const same = changes.wanted?.path === path;
  changes.wanted = { path, light: { ...(same ? changes.wanted.light : {}), ...light } };
  if (!changes.running) sendChanges();
}

async function sendChanges() {
  changes.running = true;
  while (changes.wanted) {
    const { path, light } = changes.wanted;
    changes.wanted = null;
    try {
      const answer = await send(path, "PATCH", light);
      const problem = answer.ok ? "" : (await answer.json()).detail;
      write(at("setting-error"), problem);
      if (problem) page.touched = 0;
    } catch {
      write(at("setting-error"), "The change did not reach the console; try again.");
    }
    await new Promise((done) => setTimeout(done, SEND_MS));
  }
  changes.running = false;
}

function listenToLight() {
  at("ratio").min = -1;
  at("ratio").max = 1;
  at("ratio").addEventListener("input", () => {
    at("auto").checked = false;
    change({ ratio: Math.min(10, Math.max(0.1, 10 ** Number(at("ratio").value))) });
  });
  at("auto").addEventListener("change", () => {
    const ratio = 10 ** Number(at("ratio").value);
    change({ ratio: at("auto").checked ? "auto" : Math.min(10, Math.max(0.1, ratio)) });
  });
  at("target").addEventListener("input", () => change({ target: Number(at("target").value) }));
}

// ---- the picture: one JPEG holds before in its left half and after in its right

function draw() {
  const canvas = at("picture");
  const context = canvas.getContext("2d");
  const both = page.picture;
  if (!both) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  const width = both.width / 2;
  if (canvas.width !== width || canvas.height !== both.height) {
    canvas.width = width;
    canvas.height = both.height;
    at("stage").style.setProperty("--shape", width / both.height);
  }
  const edge = Math.round((width * page.divider) / 100);
  context.drawImage(both, width, 0, width, both.height, 0, 0, width, both.height);
  if (edge) context.drawImage(both, 0, 0, edge, both.height, 0, 0, edge, both.height);
}

async function getPicture() {
  if (document.hidden || !page.chosen || at("fleet").hidden) return;
  const name = page.chosen;
  const answer = await ask(cameraPath("/preview.jpg"), { cache: "no-cache" });
  if (answer.status !== 200 || answer.headers.get("ETag") === page.tag) return;
  const both = await createImageBitmap(await answer.blob());
  if (name !== page.chosen) return;
  page.picture?.close();
  page.picture = both;
  page.tag = answer.headers.get("ETag");
  draw();
}

function divided(percent) {
  page.divider = percent;
  const shown = Math.round(percent);
  draw();
  return `${shown} % before, ${100 - shown} % after`;
}

// ---- log in and out

function showLogin() {
  at("fleet").hidden = true;
  at("logout").hidden = true;
  if (!at("login").hidden) return;
  at("login").hidden = false;
  at("token").focus();
}

function listenToLogin() {
  at("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await send("/api/session", "POST", { token: at("token").value });
    at("login-error").textContent = answer.ok ? "" : (await answer.json()).detail;
    if (!answer.ok) return;
    at("token").value = "";
    at("login").hidden = true;
    localStorage.setItem("session", "yes");
    look.soon();
  });
  at("logout").addEventListener("click", async () => {
    await ask("/api/session", { method: "DELETE" });
    localStorage.removeItem("session");
    showLogin();
  });
}

// ---- what repeats

async function lookAtFleet() {
  if (document.hidden || !at("login").hidden) return;
  const answer = await ask("/api/cameras");
  if (!answer.ok) return;
  const fleet = await answer.json();
  page.cameras = fleet.cameras;
  if (!page.cameras.some((camera) => camera.name === page.chosen)) {
    choose(page.cameras[0]?.name ?? null);
  }
  at("fleet").hidden = false;
  at("logout").hidden = localStorage.getItem("session") === null;
  write(at("engine"), fleet.engine);
  showList();
  showCamera();
  announceChanges();
}

function answered(well) {
  at("offline").hidden = well;
}

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const look = repeat(lookAtFleet, LOOK_MS, answered);
const pictures = repeat(getPicture, still ? STILL_MS : PICTURE_MS, answered);

listenToLight();
listenToDivider(at("stage"), at("divider"), divided);
listenToLogin();
document.addEventListener("visibilitychange", () => {
  look.soon();
  pictures.soon();
});
look.soon();
pictures.soon();
