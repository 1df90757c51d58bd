// Profile, light, result and presets, and the expected time of each profile.

import { ask, get, query, Refused, send } from "./net.js";
import { at, make, write } from "./parts.js";
import { shownRatio } from "./stage.js";
import { number, span, t } from "./texts.js";

const PROFILES = ["realtime", "balanced", "quality"];
const page = { presets: {}, estimates: new Map(), asked: "", stop: null, mostCrf: {}, changed: () => {} };

// ---- the form

export function settings() {
  const crf = at("crf").value;
  return {
    profile: document.querySelector("#profiles input:checked")?.value ?? "balanced",
    ratio: at("auto").checked ? "auto" : ratioOfSlider(),
    target: Number(at("target").value),
    codec: at("codec").value,
    crf: crf === "" ? null : Number(crf),
    added: at("added").value,
  };
}

// What is wrong with the values that were typed; "" for nothing.
export function wrongSettings() {
  const { codec, crf, added } = settings();
  const most = page.mostCrf[codec];
  const typed = at("crf").validity.badInput || !(crf === null || (Number.isInteger(crf) && crf >= 0));
  if (typed || crf > most) return t("crfRule", { most });
  return /^[\p{L}\p{M}\p{N}_ ()+-]{0,40}$/u.test(added) ? "" : t("addedRule");
}

function ratioOfSlider() {
  return Math.min(10, Math.max(0.1, 10 ** Number(at("ratio").value)));
}

export function showSettings(wanted) {
  document.querySelector(`#profiles input[value=${wanted.profile}]`).checked = true;
  at("auto").checked = wanted.ratio === "auto";
  if (wanted.ratio !== "auto") at("ratio").value = Math.log10(wanted.ratio);
  at("target").value = wanted.target;
  at("codec").value = wanted.codec;
  at("crf").value = wanted.crf ?? "";
  at("added").value = wanted.added;
  nameLight();
  page.changed();
}

// Show the values of the sliders. An automatic ratio moves the slider to that of the picture.
export function nameLight() {
  const auto = at("auto").checked;
  const ratio = auto ? shownRatio() : ratioOfSlider();
  const told = ratio ? number(Number(ratio.toPrecision(2)), 2) : "…";
  if (auto && ratio) at("ratio").value = Math.log10(ratio);
  const shown = auto ? t("autoRatio", { ratio: told }) : told;
  write(at("ratio-value"), shown);
  at("ratio").setAttribute("aria-valuetext", shown);
  write(at("target-value"), number(Number(at("target").value), 2));
}

function makeProfiles() {
  const labels = PROFILES.map((profile) => {
    const label = make("label");
    const told = make("span", "", { class: "quiet", "data-profile": profile });
    const name = make("b", t(profile), { "data-text": profile });
    label.append(make("input", "", { type: "radio", name: "profile", value: profile }), name, told);
    return label;
  });
  at("profiles").append(...labels);
}

// ---- expected times: each profile is measured once for a file, the chosen one first

export async function estimate(file) {
  const { profile, codec, ratio } = settings();
  const key = JSON.stringify([file.place, file.modified, codec, ratio === "auto"]);
  if (page.asked !== key) {
    page.stop?.abort();
    Object.assign(page, { asked: key, estimates: new Map() });
    showEstimates();
  } else if (page.stop) return; // it is under way
  const stop = page.stop = new AbortController();
  for (const wanted of [profile, ...PROFILES.filter((p) => p !== profile)]) {
    if (page.estimates.has(wanted)) continue;
    try {
      const values = { path: file.place, profile: wanted, codec, ratio };
      const told = await get(query("/api/files/estimate", values), { signal: stop.signal });
      page.estimates.set(wanted, told);
    } catch (problem) {
      if (stop.signal.aborted) return;
      if (!(problem instanceof Refused)) {
        page.asked = ""; // it is asked again when the server answers
        break;
      }
      page.estimates.set(wanted, null);
    }
    showEstimates();
  }
  page.stop = null;
}

// Forget what was measured: another file is chosen.
export function forgetEstimates() {
  page.stop?.abort();
  Object.assign(page, { stop: null, asked: "", estimates: new Map() });
  showEstimates();
}

export function showEstimates() {
  for (const profile of PROFILES) {
    const told = page.estimates.get(profile);
    const line = document.querySelector(`[data-profile=${profile}]`);
    if (told?.seconds) {
      const fps = number(told.fps, told.fps < 1 ? 2 : told.fps < 10 ? 1 : 0);
      write(line, t("expected", { time: span(told.seconds), fps }));
    } else write(line, t(told === undefined ? "measuring" : "unmeasured"));
  }
}

// ---- presets

export async function loadPresets() {
  const kept = await get("/api/presets");
  const changed = JSON.stringify(kept.presets) !== JSON.stringify(page.presets);
  page.presets = kept.presets;
  if (changed) showPresets();
  return kept.last;
}

export function showPresets() {
  const names = Object.keys(page.presets).sort();
  const none = make("option", t("choosePreset"), { value: "" });
  const chosen = at("preset").value;
  at("preset").replaceChildren(none, ...names.map((name) => make("option", name, { value: name })));
  at("preset").value = names.includes(chosen) ? chosen : "";
}

async function attempt(act) {
  try {
    await act();
    write(at("setting-error"), "");
  } catch (problem) {
    write(at("setting-error"), problem.message);
  }
}

// The largest crf of each codec, as the server says.
export function limitCrf(most) {
  page.mostCrf = most;
}

// `changed` is called after each change, and `told` with text for a screen reader.
export function listenToSettings(changed, told) {
  page.changed = changed;
  makeProfiles();
  at("ratio").addEventListener("input", () => { at("auto").checked = false; });
  for (const kind of ["input", "change"]) {
    at("settings").addEventListener(kind, (event) => {
      if (event.target.id === "preset" || event.target.id === "preset-name") return;
      nameLight();
      changed();
    });
  }
  at("preset").addEventListener("change", () => {
    const name = at("preset").value;
    if (!name) return;
    at("preset-name").value = name;
    showSettings(page.presets[name]);
  });
  at("keep").addEventListener("click", () => attempt(async () => {
    const name = at("preset-name").value.trim();
    const wrong = /^[^./][^/]{0,39}$/u.test(name) ? wrongSettings() : t("presetRule");
    if (wrong) throw new Error(wrong);
    await send(`/api/presets/${encodeURIComponent(name)}`, "PUT", settings());
    await loadPresets();
    at("preset").value = name;
    told(t("kept", { name }));
  }));
  at("preset-name").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault(); // it would add the video to the queue
    at("keep").click();
  });
  at("forget").addEventListener("click", () => attempt(async () => {
    const name = at("preset").value;
    if (!name) return;
    await ask(`/api/presets/${encodeURIComponent(name)}`, { method: "DELETE" });
    at("preset-name").value = "";
    await loadPresets();
  }));
}
