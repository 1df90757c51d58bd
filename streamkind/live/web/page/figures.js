// Figures, outputs and errors of the chosen camera.

import { milliseconds, moment } from "./fleet.js";
import { at, make, write } from "./parts.js";

export function showFigures(camera) {
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

export function showSinks(camera) {
  const lines = camera.sinks.map((sink) => {
    const lost = sink.dropped ? `, ${sink.dropped} not written` : "";
    return `${sink.url}: ${sink.state}, ${sink.frames} frames${lost}`;
  });
  showLines(at("sinks"), lines.length ? lines : ["None"]);
}

export function showErrors(camera) {
  const lines = camera.error ? [`${moment(camera.error_time)} ${camera.error}`] : [];
  for (const sink of camera.sinks) if (sink.error) lines.push(`${sink.url}: ${sink.error}`);
  showLines(at("errors"), lines.length ? lines : ["None"]);
}
