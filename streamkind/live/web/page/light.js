// Ratio and target of the chosen camera; the slider's scale is logarithmic.

import { pathOf, send } from "./fleet.js";
import { at, write } from "./parts.js";

const SETTLE_MS = 1500; // for this time after a change, the page shows the requested values
const SEND_MS = 60;
const state = { camera: null, touched: 0, ratio: 1 };

export function showLight(camera) {
  if (state.camera !== camera.name) {
    Object.assign(state, { camera: camera.name, touched: 0 });
    write(at("setting-error"), "");
  }
  if (Date.now() - state.touched <= SETTLE_MS) return;
  const auto = camera.wanted_ratio === "auto";
  at("auto").checked = auto;
  at("ratio").value = Math.log10(auto ? camera.ratio : camera.wanted_ratio);
  at("target").value = camera.target;
  state.ratio = camera.ratio;
  nameLight();
}

function nameLight() {
  // An automatic ratio may be higher than the slider goes.
  const ratio = at("auto").checked ? state.ratio : 10 ** Number(at("ratio").value);
  const told = ratio.toPrecision(2);
  write(at("ratio-value"), at("auto").checked ? `auto, ${told}` : told);
  at("ratio").setAttribute("aria-valuetext", at("auto").checked ? `automatic, ${told}` : told);
  write(at("target-value"), Number(at("target").value).toFixed(2));
}

const changes = { wanted: null, running: false };

function change(light) {
  state.touched = Date.now();
  nameLight();
  const path = pathOf(state.camera);
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
      if (problem) state.touched = 0;
    } catch {
      write(at("setting-error"), "The change did not reach the server. Try again.");
    }
    await new Promise((done) => setTimeout(done, SEND_MS));
  }
  changes.running = false;
}

export function listenToLight() {
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
