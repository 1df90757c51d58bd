// The wall: a small picture of each camera, gray if the camera is not live.

import { ask, badge, brief, keepItems, pathOf, showState } from "./fleet.js";
import { at, make, write } from "./parts.js";

function tile(name) {
  const link = make("a", "", { href: `#/${encodeURIComponent(name)}` });
  const image = make("img", "", { alt: "", hidden: "" });
  link.append(image, make("span", name, { class: "who" }), badge("connecting"),
    make("span", "", { class: "what" }));
  return link;
}

export function showWall(cameras) {
  const items = keepItems(at("tiles"), cameras, tile);
  cameras.forEach((camera, place) => {
    const [image, , state, what] = items[place].firstChild.children;
    items[place].classList.toggle("gone", camera.state !== "live");
    items[place].dataset.live = camera.state === "live";
    image.alt = `Picture of ${camera.name}`;
    showState(state, camera.state);
    write(what, brief(camera));
  });
}

async function getTile(item) {
  const image = item.querySelector("img");
  const answer = await ask(pathOf(item.dataset.name, "/tile.jpg"), { cache: "no-cache" });
  if (answer.status !== 200 || answer.headers.get("ETag") === image.dataset.tag) return;
  image.dataset.tag = answer.headers.get("ETag");
  const before = image.src;
  image.src = URL.createObjectURL(await answer.blob());
  image.hidden = false;
  if (before) URL.revokeObjectURL(before);
}

// A camera that is not live keeps its last picture. If there is none, it is requested once.
export async function getTiles() {
  const wanted = [...at("tiles").children].filter((item) =>
    item.dataset.live === "true" || item.querySelector("img").hidden);
  await Promise.all(wanted.map(getTile));
}
