// Plays a result, and the original at the same time.

import { at, write } from "./parts.js";
import { t } from "./texts.js";

const APART = 0.08; // largest difference between the times of the two videos, in seconds

export function play(job) {
  const [before, after] = [at("video-before"), at("video-after")];
  write(at("player-name"), job.output);
  write(at("player-note"), "");
  document.querySelector(".videos").classList.remove("alone");
  before.src = `/api/jobs/${job.id}/original`;
  after.src = `/api/jobs/${job.id}/result`;
  at("player").showModal();
  after.focus();
}

export function listenToPlayer() {
  const [before, after] = [at("video-before"), at("video-after")];
  const step = () => {
    if (Math.abs(before.currentTime - after.currentTime) > APART) {
      before.currentTime = after.currentTime;
    }
  };
  after.addEventListener("play", () => {
    step();
    before.play().catch(() => {});
  });
  after.addEventListener("pause", () => {
    before.pause();
    step();
  });
  for (const kind of ["seeking", "seeked", "timeupdate"]) after.addEventListener(kind, step);
  after.addEventListener("ratechange", () => { before.playbackRate = after.playbackRate; });
  before.addEventListener("error", () => {
    if (!before.getAttribute("src")) return;
    document.querySelector(".videos").classList.add("alone");
    write(at("player-note"), t("noBefore"));
  });
  after.addEventListener("error", () => {
    if (after.getAttribute("src")) write(at("player-note"), t("noAfter"));
  });
  at("player-close").addEventListener("click", () => at("player").close());
  at("player").addEventListener("close", () => {
    for (const video of [before, after]) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  });
}
