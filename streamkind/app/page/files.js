// The page for files: choose a file, preview the result, enhance it and play it.

import { darkness, listenToLibrary, lookAtDropped, open, refresh } from "./library.js";
import { get, listenToLogin, query, send } from "./net.js";
import { at, make, repeat, write } from "./parts.js";
import { listenToPlayer } from "./player.js";
import { listenToQueue, lookAtQueue } from "./queue.js";
import {
  estimate, forgetEstimates, limitCrf, listenToSettings, loadPresets, nameLight, settings,
  showEstimates, showPresets, showSettings, wrongSettings,
} from "./settings.js";
import { listenToStage, showAgain, showFile, showLight, showTexts } from "./stage.js";
import { clock, LANGUAGES, number, speak, t } from "./texts.js";

const LOOK_MS = 1000;
const page = { file: null, facts: null };

function tell(text) {
  at("announce").textContent = text;
}

function light() {
  const { profile, ratio, target } = settings();
  return { profile, ratio, target };
}

// ---- the chosen file

async function choose(file) {
  Object.assign(page, { file, facts: null });
  forgetEstimates();
  write(at("preview-error"), "");
  at("chosen").hidden = !file;
  at("hint").hidden = Boolean(file);
  showName();
  if (!file) {
    showFile(null, 0, light());
    return;
  }
  try {
    const facts = await get(query("/api/files/facts", { path: file.place }));
    if (page.file !== file) return;
    page.facts = facts;
    showName();
    showFile(file, facts.seconds, light());
  } catch (problem) {
    if (page.file !== file) return;
    at("chosen").hidden = true;
    at("hint").hidden = false;
    write(at("hint"), problem.message);
    tell(problem.message);
  }
}

function showName() {
  write(at("name"), page.file?.name ?? t("none"));
  if (!page.file) write(at("hint"), t("hint"));
  const facts = page.facts;
  write(at("facts"), facts ? [
    `${facts.width} × ${facts.height}`, clock(facts.seconds), `${number(facts.fps, 2)} fps`,
    facts.codec, darkness(facts.luma),
  ].join(" · ") : "");
}

function changed() {
  if (!page.facts) return;
  showLight(light());
}

function shown() {
  if (page.file) estimate(page.file);
}

async function run(event) {
  event.preventDefault();
  const wrong = wrongSettings();
  write(at("setting-error"), wrong);
  if (wrong) return;
  try {
    await send("/api/jobs", "POST", { path: page.file.place, settings: settings() });
    tell(t("added_", { name: page.file.name }));
    look.soon();
  } catch (problem) {
    write(at("setting-error"), problem.message);
  }
}

// ---- the page as a whole

function setLanguage(wanted) {
  speak(wanted);
  at("language").value = document.documentElement.lang;
  showName();
  showEstimates();
  showPresets();
  nameLight();
  showTexts();
  showLight(light());
}

function listenToLanguage() {
  const names = Object.entries(LANGUAGES);
  at("language").replaceChildren(...names.map(([value, name]) => make("option", name, { value })));
  at("language").addEventListener("change", () => {
    localStorage.setItem("language", at("language").value);
    setLanguage(at("language").value);
    refresh();
    look.soon();
  });
}

async function lookAtAll() {
  if (document.hidden || !at("login").hidden) return;
  await Promise.all([lookAtQueue(), loadPresets(), lookAtDropped()]); // others may use the page too
}

async function enter() {
  const about = await get("/api/about");
  at("to-cameras").hidden = !about.cameras;
  limitCrf(about.most_crf);
  listenToQueue(about.local, look.soon, tell);
  const last = await loadPresets();
  at("files").hidden = false;
  at("logout").hidden = localStorage.getItem("session") === null;
  showSettings(last);
  await open("").finally(look.soon); // it repeats what fails
}

const look = repeat(lookAtAll, LOOK_MS, (well) => {
  const back = well && !at("offline").hidden;
  at("offline").hidden = well;
  if (back) comeBack().catch(() => {});
});

async function comeBack() {
  if (at("files").hidden) {
    await enter();
    return;
  }
  await refresh();
  if (page.file && !page.facts) await choose(page.file);
  else showAgain();
}

listenToSettings(changed, tell);
listenToStage(shown, nameLight);
listenToLibrary(choose, tell);
listenToPlayer();
listenToLogin(() => enter().catch(() => {}));
listenToLanguage();
setLanguage(localStorage.getItem("language") ?? navigator.language.slice(0, 2));
at("settings").addEventListener("submit", run);
document.addEventListener("visibilitychange", look.soon);
enter().catch(() => {}); // a login is asked for
