// The picture of the chosen camera: live video, or before and after with a divider.
//
// One JPEG has before in its left half and after in its right half. It is also shown if the browser
// cannot play the video.

import { ask, pathOf } from "./fleet.js";
import { at, listenToDivider } from "./parts.js";
import { LivePlayer } from "./live.js";

const stage = { camera: null, comparing: false, picture: null, tag: "", divider: 50 };
const player = new LivePlayer(at("live"), (plays) => {
  const { videoWidth, videoHeight } = at("live");
  if (plays) at("stage").style.setProperty("--shape", videoWidth / videoHeight);
  at("stage").classList.toggle("video", plays);
});

// null: none
export function showPictureOf(camera) {
  if (stage.camera === camera) return;
  Object.assign(stage, { camera, picture: null, tag: "" });
  draw();
  playLive();
}

function draw() {
  const canvas = at("picture");
  const context = canvas.getContext("2d");
  const both = stage.picture;
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
  const edge = Math.round((width * stage.divider) / 100);
  context.drawImage(both, width, 0, width, both.height, 0, 0, width, both.height);
  if (edge) context.drawImage(both, 0, 0, edge, both.height, 0, 0, edge, both.height);
}

export async function getPicture() {
  const name = stage.camera;
  if (showsVideo()) return;
  const answer = await ask(pathOf(name, "/preview.jpg"), { cache: "no-cache" });
  if (answer.status !== 200 || answer.headers.get("ETag") === stage.tag) return;
  const both = await createImageBitmap(await answer.blob());
  if (name !== stage.camera) return;
  stage.picture?.close();
  stage.picture = both;
  stage.tag = answer.headers.get("ETag");
  draw();
}

// ---- live video, with pictures where it does not play

function showsVideo() {
  return at("stage").classList.contains("video");
}

export function playLive() {
  const wanted = stage.camera && !stage.comparing && !document.hidden && at("login").hidden;
  if (wanted) player.open(pathOf(stage.camera, "/live"));
  else player.close();
}

function compare(comparing) {
  stage.comparing = comparing;
  at("mode-live").setAttribute("aria-pressed", String(!comparing));
  at("mode-compare").setAttribute("aria-pressed", String(comparing));
  playLive();
}

// ---- the divider

function divided(percent) {
  stage.divider = percent;
  const shown = Math.round(percent);
  draw();
  return `${shown} % before, ${100 - shown} % after`;
}

export function listenToPicture() {
  listenToDivider(at("stage"), at("divider"), divided);
  at("mode-live").addEventListener("click", () => compare(false));
  at("mode-compare").addEventListener("click", () => compare(true));
}
