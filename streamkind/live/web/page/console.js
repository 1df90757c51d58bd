// The page of the console. It requests the state of all cameras every second, and shows small
// pictures of all cameras (the wall), or one camera.

import { ask, badge, brief, keepItems, moment, repeat, send, showState, STATES } from "./fleet.js";
import { at, make, write } from "./parts.js";
import { showErrors, showFigures, showSinks } from "./figures.js";
import { listenToLight, showLight } from "./light.js";
import { getPicture, listenToPicture, playLive, showPictureOf } from "./picture.js";
import { getRecordings, listenToRecordings } from "./recordings.js";
import { getTiles, showWall } from "./wall.js";

const LOOK_MS = 1000;
const PICTURE_MS = 250;
const STILL_MS = 2000; // for people who prefer reduced motion
const WALL_MS = 1000;
const RECORDINGS_MS = 20000;
const page = { cameras: [], chosen: null, states: new Map() };

// ---- the list of cameras

function showList() {
  const items = keepItems(at("cameras"), page.cameras, listButton);
  page.cameras.forEach((camera, place) => fillButton(items[place].firstChild, camera));
  at("empty").hidden = page.cameras.length > 0;
}

function listButton(name) {
  const button = make("button", "", { type: "button" });
  button.append(make("span", name, { class: "who" }), badge("connecting"),
    make("span", "", { class: "what" }));
  button.addEventListener("click", () => {
    location.hash = `#/${encodeURIComponent(name)}`;
  });
  return button;
}

function fillButton(button, camera) {
  const [, state, what] = button.children;
  button.setAttribute("aria-pressed", String(camera.name === page.chosen));
  showState(state, camera.state);
  write(what, brief(camera));
}

// The hash of the address selects the view: #/ is the wall, #/NAME is a camera.
function follow() {
  const { hash } = location;
  if (hash && !hash.startsWith("#/")) return; // the link to the picture
  page.chosen = hash.slice(2) || null;
  showPictureOf(page.chosen);
  for (const loop of [look, pictures, tiles, recordings]) loop.soon();
  if (!at("fleet").hidden) show();
}

function show() {
  at("fleet").classList.toggle("walled", page.chosen === null);
  at("wall").hidden = page.chosen !== null || !page.cameras.length;
  at("list").hidden = page.chosen === null && page.cameras.length > 0;
  showWall(page.cameras);
  showList();
  showCamera();
}

function announceChanges() {
  const told = [];
  for (const camera of page.cameras) {
    const before = page.states.get(camera.name);
    const now = camera.state;
    if (before !== undefined && before !== now) {
      if (now === "lost") told.push(`Camera ${camera.name} has no signal.`);
      else if (now === "refused") told.push(`Camera ${camera.name} refuses the password or the stream.`);
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
  showState(at("state"), camera.state);
  write(at("size"), camera.width ? `${camera.width} × ${camera.height}` : "");
  write(at("url"), camera.url);
  const gone = camera.state !== "live";
  at("stage").classList.toggle("lost", gone);
  at("veil").hidden = !gone;
  if (gone) write(at("veil"), `${STATES[camera.state]} since ${moment(camera.since)}`);
  at("picture").setAttribute("aria-label",
    `Picture of ${camera.name}, before on the left, after on the right`);
  showLight(camera);
  showFigures(camera);
  showSinks(camera);
  showErrors(camera);
}

// ---- log in and out

function showLogin() {
  at("fleet").hidden = true;
  at("logout").hidden = true;
  if (!at("login").hidden) return;
  at("login").hidden = false;
  playLive();
  at("token").focus();
}

function listenToLogin() {
  at("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    let problem = "The server does not answer. Try again.";
    try {
      const answer = await send("/api/session", "POST", { token: at("token").value });
      problem = answer.ok ? "" : (await answer.json()).detail;
    } catch { /* no answer, or none of the console */ }
    at("login-error").textContent = problem;
    if (problem) return;
    at("token").value = "";
    at("login").hidden = true;
    playLive();
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
  if (at("fleet").hidden) {
    at("fleet").hidden = false;
    for (const loop of [pictures, tiles, recordings]) loop.soon();
  }
  if (page.chosen && !page.cameras.some((camera) => camera.name === page.chosen)) {
    location.hash = "#/"; // the camera was removed
  }
  at("logout").hidden = localStorage.getItem("session") === null;
  write(at("engine"), fleet.engine);
  show();
  announceChanges();
}

function isSeen(shown) {
  return !document.hidden && shown && !at("fleet").hidden;
}

async function lookAtPicture() {
  if (isSeen(page.chosen)) await getPicture();
}

async function lookAtRecordings() {
  if (isSeen(page.chosen)) await getRecordings(page.chosen);
}

async function lookAtWall() {
  if (isSeen(!page.chosen)) await getTiles();
}

const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const look = repeat(lookAtFleet, LOOK_MS);
const pictures = repeat(lookAtPicture, still ? STILL_MS : PICTURE_MS);
const tiles = repeat(lookAtWall, still ? STILL_MS : WALL_MS);
const recordings = repeat(lookAtRecordings, RECORDINGS_MS);

at("to-files").hidden = location.pathname === "/"; // else it is in the page for files
listenToLight();
listenToPicture();
listenToLogin();
listenToRecordings();
document.addEventListener("login", showLogin);
document.addEventListener("visibilitychange", () => {
  for (const loop of [look, pictures, tiles]) loop.soon();
  playLive();
});
window.addEventListener("hashchange", follow);
follow();
