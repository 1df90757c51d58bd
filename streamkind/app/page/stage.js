// Three moments of a file before and after. A quick preview comes first, then the result of the
// chosen profile. One JPEG has before in its left half and after in its right half.

import { ask, query } from "./net.js";
import { at, listenToDivider, make, write } from "./parts.js";
import { clock, t } from "./texts.js";

const SHARES = [1 / 6, 1 / 2, 5 / 6];
const WIDTH = 960;
const FULL_WIDTH = 8192;
const REST_MS = 350; // time without a change before the chosen profile's result is requested
const page = {
  file: null, seconds: 0, light: {}, moments: [], chosen: 0, percent: 50, changed: 0,
  shown: () => {}, move: () => {}, large: null,
};

// ---- what is wanted

// Show a file from its beginning, or nothing for null.
export function showFile(file, seconds, light) {
  for (const moment of page.moments) moment.picture?.close();
  Object.assign(page, { file, seconds, light, chosen: 0, changed: Date.now() });
  page.moments = file ? SHARES.map((share) => newMoment(seconds * share)) : [];
  at("time").max = Math.max(0.001, seconds - 0.001);
  at("time").step = Math.max(0.001, Math.min(1, seconds / 100)); // an arrow key moves by this
  at("moments").replaceChildren(...page.moments.map(momentButton));
  showTime();
  draw();
  quick.soon();
  fine.soon();
}

// Show the same moments with another light: profile, ratio and target.
export function showLight(light) {
  Object.assign(page, { light, changed: Date.now() });
  quick.soon();
  fine.soon();
}

function newMoment(time) {
  return { at: time, picture: null, quick: "", fine: "", ratio: 0 };
}

function now() {
  return page.moments[page.chosen];
}

function keyOf(moment, profile) {
  const { ratio, target } = page.light;
  return JSON.stringify([page.file?.place, page.file?.modified, moment.at, ratio, target, profile]);
}

// ---- asking: one loop for quick pictures, one for those of the chosen profile

async function getPicture(moment, values, signal) {
  const { ratio, target, profile } = page.light;
  const path = query("/api/files/preview.jpg", {
    path: page.file.place, at: moment.at, ratio, target, profile, width: WIDTH, ...values,
  });
  const answer = await ask(path, { signal });
  const picture = await createImageBitmap(await answer.blob());
  return { picture, ratio: Number(answer.headers.get("X-Ratio")) };
}

function put(moment, got) {
  moment.picture?.close();
  Object.assign(moment, got);
  write(at("preview-error"), "");
  draw();
}

const quick = { running: false, soon: () => quick.running || runQuick() };

async function runQuick() {
  quick.running = true;
  for (;;) {
    const order = [now(), ...page.moments].filter(Boolean);
    const moment = order.find((m) => m.quick !== keyOf(m, "") && m.fine !== keyOf(m, page.light.profile));
    if (!moment) break;
    const key = keyOf(moment, "");
    const asked = page.file;
    try {
      const got = await getPicture(moment, { fine: false });
      if (page.file === asked && moment.fine !== keyOf(moment, page.light.profile)) {
        put(moment, got);
      }
    } catch (problem) {
      if (page.file === asked) tellProblem(problem);
    }
    moment.quick = key;
  }
  quick.running = false;
  tellQuality();
}

const fine = { timer: 0, stop: null, layers: "", soon: fineSoon };

// The layers that a picture needs. They stay the same for another ratio or target.
function layersOf(moment) {
  return JSON.stringify([page.file?.place, page.file?.modified, moment?.at, page.light.profile]);
}

function fineSoon() {
  clearTimeout(fine.timer);
  if (fine.layers !== layersOf(now())) fine.stop?.abort();
  fine.timer = setTimeout(runFine, REST_MS);
  tellQuality();
}

async function runFine() {
  const moment = now();
  if (!moment) return;
  if (quick.running) {
    fine.timer = setTimeout(runFine, REST_MS);
    return;
  }
  const key = keyOf(moment, page.light.profile);
  if (moment.fine !== key) {
    const stop = new AbortController();
    Object.assign(fine, { stop, layers: layersOf(moment) });
    try {
      const got = await getPicture(moment, { fine: true }, stop.signal);
      if (stop.signal.aborted || key !== keyOf(moment, page.light.profile)) return;
      moment.fine = key;
      put(moment, got);
    } catch (problem) {
      if (stop.signal.aborted) return;
      tellProblem(problem);
    }
  }
  tellQuality();
  page.shown(now());
}

function tellProblem(problem) {
  write(at("preview-error"), problem.message);
}

function tellQuality() {
  const moment = now();
  const profile = t(page.light.profile ?? "balanced");
  const ready = moment?.picture && moment.fine === keyOf(moment, page.light.profile);
  const key = ready ? "asResult" : moment?.picture ? "quick" : "loading";
  write(at("quality"), t(key, { profile }));
  at("stage").dataset.ready = ready ? "fine" : moment?.picture ? "quick" : "";
}

// Request again the pictures for which the server did not answer.
export function showAgain() {
  if (!page.file) return;
  for (const moment of page.moments) if (!moment.picture) moment.quick = "";
  write(at("preview-error"), "");
  quick.soon();
  fine.soon();
}

// Show all texts in the present language.
export function showTexts() {
  page.move(page.percent);
}

// The ratio of the visible picture; 0 if there is none.
export function shownRatio() {
  return now()?.ratio ?? 0;
}

// ---- drawing

function draw() {
  const moment = now();
  const canvas = at("picture");
  const both = moment?.picture;
  at("veil").hidden = Boolean(both);
  write(at("veil"), t("loading"));
  if (both) drawStage(canvas, both);
  else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  if (page.file) {
    const told = { name: page.file.name, time: clock(moment.at) };
    canvas.setAttribute("aria-label", t("pictureOf", told));
  }
  page.moments.forEach(drawMoment);
  tellQuality();
  page.drawn?.();
}

function fit(canvas, width, height) {
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}

function drawStage(canvas, both) {
  const beside = at("beside").checked;
  const [half, height] = [both.width / 2, both.height];
  fit(canvas, beside ? both.width : half, height);
  at("stage").classList.toggle("beside", beside);
  at("stage").style.setProperty("--shape", canvas.width / canvas.height);
  const context = canvas.getContext("2d");
  if (beside) {
    context.drawImage(both, 0, 0);
    return;
  }
  const edge = Math.round((half * page.percent) / 100);
  context.drawImage(both, half, 0, half, height, 0, 0, half, height);
  if (edge) context.drawImage(both, 0, 0, edge, height, 0, 0, edge, height);
}

function drawMoment(moment, place) {
  const button = at("moments").children[place];
  const [canvas, line] = button.children;
  button.setAttribute("aria-pressed", String(place === page.chosen));
  write(line, clock(moment.at));
  button.setAttribute("aria-label",
    t("moment", { number: place + 1, time: clock(moment.at) }));
  if (!moment.picture) return;
  const [half, height] = [moment.picture.width / 2, moment.picture.height];
  fit(canvas, 240, Math.max(1, Math.round((240 * height) / half)));
  canvas.getContext("2d").drawImage(moment.picture, half, 0, half, height,
    0, 0, canvas.width, canvas.height);
}

function momentButton(_, place) {
  const button = make("button", "", { type: "button" });
  button.append(make("canvas", "", { width: 240, height: 135 }), make("span"));
  button.addEventListener("click", () => {
    page.chosen = place;
    showTime();
    draw();
    fine.soon();
  });
  return button;
}

function showTime() {
  const moment = now();
  if (!moment) return;
  at("time").value = moment.at;
  write(at("time-value"), clock(moment.at));
  at("time").setAttribute("aria-valuetext", clock(moment.at));
}

// ---- full size

async function showLarge() {
  const moment = now();
  if (!moment) return;
  try {
    const got = await getPicture(moment, { width: FULL_WIDTH, fine: true });
    page.large?.close();
    page.large = got.picture;
    at("large").showModal();
    drawLarge();
  } catch (problem) {
    tellProblem(problem);
  }
}

function drawLarge() {
  const half = page.large.width / 2;
  const before = at("large-before").checked;
  const canvas = at("large-picture");
  fit(canvas, half, page.large.height);
  canvas.setAttribute("aria-label", t(before ? "before" : "after"));
  canvas.getContext("2d").drawImage(page.large, before ? 0 : half, 0, half, page.large.height,
    0, 0, half, page.large.height);
}

// `shown` is called when the chosen profile's picture is visible, and `drawn` after each drawing.
export function listenToStage(shown, drawn) {
  page.move = listenToDivider(at("stage"), at("divider"), (percent) => {
    page.percent = percent;
    draw();
    const before = Math.round(percent);
    return t("divided", { before, after: 100 - before });
  });
  Object.assign(page, { shown, drawn });
  at("beside").addEventListener("change", draw);
  at("time").addEventListener("input", () => {
    const moment = now();
    Object.assign(moment, { at: Number(at("time").value), quick: "", fine: "" });
    page.changed = Date.now();
    showTime();
    draw();
    quick.soon();
    fine.soon();
  });
  at("full").addEventListener("click", showLarge);
  at("stage").addEventListener("dblclick", showLarge);
  at("large-before").addEventListener("change", drawLarge);
  at("large-close").addEventListener("click", () => at("large").close());
}
