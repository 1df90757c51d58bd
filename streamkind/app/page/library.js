// Chooses a video: a dropped file, or one from the folders of the command.

import { ask, get, query, Refused, upload } from "./net.js";
import { at, keepFocus, make, write } from "./parts.js";
import { bytes, clock, number, t } from "./texts.js";

const UPLOADS = "uploads";
const page = {
  place: "", names: [], shown: { place: "", names: [] }, folders: "", dropped: "", chosen: "",
  clicks: 0,
  choose: () => {}, told: () => {},
};

export function darkness(luma) {
  const word = luma < 0.06 ? "veryDark" : luma < 0.15 ? "dark" : luma < 0.35 ? "dim" : "bright";
  return `${t(word)} (${number(luma * 100)}\u00a0%)`; // the sign stays beside its number
}

// ---- the list

// Open a folder. "" opens the list of folders and of dropped files.
export async function open(place, names = []) {
  Object.assign(page, { place, names });
  const listing = await list(place).catch((problem) => {
    if (page.place === place) Object.assign(page, page.shown); // its list is still there
    throw problem;
  });
  if (page.place !== place) return; // another folder has been opened meanwhile
  if (!place) {
    const dropped = await list(UPLOADS).catch((problem) => {
      if (!(problem instanceof Refused)) throw problem;
      return { files: [], more: false }; // its folder cannot be read
    });
    if (page.place !== place) return;
    page.folders = JSON.stringify(listing.folders);
    page.dropped = JSON.stringify(dropped);
    Object.assign(listing, { files: dropped.files, more: dropped.more });
    const gone = page.chosen.startsWith(`${UPLOADS}/`) && !dropped.more
      && !dropped.files.some((file) => file.place === page.chosen);
    if (gone) choose(null);
  }
  const folders = listing.folders.map((folder) => folderItem(folder, names));
  const items = [...folders, ...listing.files.map(fileItem)];
  const held = document.activeElement;
  const inside = at("where").contains(held) || at("list").contains(held);
  const walked = page.shown.place !== place && inside;
  page.shown = { place, names };
  showWhere();
  keepFocus(at("list"), at("pick"), () => at("list").replaceChildren(...items));
  if (walked) (at("list").querySelector("button") ?? at("pick")).focus();
  at("nothing").hidden = items.length > 0;
  at("more").hidden = !listing.more;
  write(at("more"), t("more", { count: number(items.length) }));
}

function list(place) {
  return get(query("/api/files", { path: place }));
}

// List the open folder again. After a change of the command's folders, begin at the list of them.
export async function refresh() {
  const { folders } = await list("");
  if (JSON.stringify(folders) === page.folders) {
    await open(page.place, page.names).catch(() => open("")); // the folder may be gone
    return;
  }
  choose(null);
  await open("");
}

// Show what other browsers have dropped and deleted.
export async function lookAtDropped() {
  if (page.place) return;
  try {
    const dropped = JSON.stringify(await list(UPLOADS));
    if (!page.place && dropped !== page.dropped) await open("");
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem; // its folder cannot be read
  }
}

function showWhere() {
  const steps = [["", t("folders")]];
  const { names } = page;
  const parts = page.place.split("/");
  names.forEach((name, i) => steps.push([parts.slice(0, i + 1).join("/"), name]));
  at("where").hidden = steps.length === 1;
  at("where").replaceChildren(...steps.map(([place, name], i) => {
    const button = make("button", name, { type: "button" });
    if (i === steps.length - 1) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => attempt(() => open(place, names.slice(0, i))));
    return button;
  }));
}

function folderItem(folder, names) {
  const item = make("li", "", { "data-key": folder.place });
  const button = make("button", `${folder.name} /`, { type: "button", class: "one folder" });
  button.addEventListener("click",
    () => attempt(() => open(folder.place, [...names, folder.name])));
  item.append(button);
  return item;
}

function fileItem(file) {
  const item = make("li", "", { "data-key": file.place, "data-place": file.place });
  const button = make("button", "", { type: "button", class: "one" });
  const picture = make("img", "", {
    class: "thumb", alt: "", loading: "lazy",
    src: query("/api/files/thumbnail.jpg", { path: file.place, of: file.modified }),
  });
  picture.addEventListener("error", () => picture.removeAttribute("src")); // no broken image
  button.append(picture, make("span", file.name, { class: "who" }),
    make("span", bytes(file.size), { class: "what" }));
  button.setAttribute("aria-pressed", String(file.place === page.chosen));
  button.addEventListener("click", () => {
    page.clicks += 1;
    choose(file);
  });
  item.append(button);
  if (file.place.startsWith(`${UPLOADS}/`)) item.append(deleteButton(file));
  factsSoon(item, file);
  return item;
}

function deleteButton(file) {
  const button = make("button", "×", {
    type: "button", class: "small", "data-does": "delete",
    "aria-label": t("deleteOf", { name: file.name }),
  });
  button.addEventListener("click", () => attempt(async () => {
    await ask(`/api/uploads/${encodeURIComponent(file.name)}`, { method: "DELETE" });
    if (page.chosen === file.place) choose(null);
    await open("");
  }));
  return button;
}

// Facts of a file are requested when its item becomes visible, one file after the other.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    wanted.push(entry.target);
  }
  if (!asking) askFacts();
});
const wanted = [];
let asking = false;

function factsSoon(item, file) {
  item.file = file;
  seen.observe(item);
}

async function askFacts() {
  asking = true;
  while (wanted.length) {
    const item = wanted.shift();
    if (!item.isConnected) continue;
    const { file } = item;
    let told = t("unreadable");
    try {
      const facts = await get(query("/api/files/facts", { path: file.place }));
      told = `${clock(facts.seconds)} · ${darkness(facts.luma)}`;
    } catch { /* the preview says why */ }
    write(item.querySelector(".what"), `${bytes(file.size)} · ${told}`);
  }
  asking = false;
}

function choose(file) {
  page.chosen = file?.place ?? "";
  for (const button of at("list").querySelectorAll("button.one:not(.folder)")) {
    const here = button.parentElement.dataset.place === page.chosen;
    button.setAttribute("aria-pressed", String(here));
  }
  page.choose(file);
}

// ---- dropping

// Files are sent one after the other: a browser has few connections to one host.
let sent = Promise.resolve();

function take(files) {
  write(at("choose-error"), "");
  const { clicks } = page;
  [...files].forEach((file, place) => {
    const row = uploadRow(file);
    // The first file of those that are dropped together is shown, unless another was chosen since.
    sent = sent.then(() => takeOne(file, row, () => place === 0 && page.clicks === clicks));
  });
}

function uploadRow(file) {
  const item = make("li");
  const line = make("span");
  const bar = make("progress", "", { max: file.size || 1, value: 0, "aria-label": file.name });
  const stop = make("button", t("cancel"), {
    type: "button", class: "small", "aria-label": t("cancelOf", { name: file.name }),
  });
  const both = make("div");
  both.append(bar, stop);
  item.append(line, both);
  at("uploads").append(item);
  const remove = () => {
    const held = item.contains(document.activeElement);
    item.remove();
    if (held) at("pick").focus();
  };
  const row = { item, remove, cancel: remove, moved: (sent) => {
    bar.value = sent;
    const values = { name: file.name, done: bytes(sent), size: bytes(file.size) };
    write(line, t("uploading", values));
  } };
  row.moved(0);
  stop.addEventListener("click", () => row.cancel());
  return row;
}

async function takeOne(file, row, isShown) {
  if (!row.item.isConnected) return; // it was cancelled before its turn
  try {
    await check(file);
    if (!row.item.isConnected) return;
    const sending = upload(file, row.moved);
    row.cancel = sending.cancel;
    const here = await sending.done;
    page.told(t("uploaded", { name: here.name }));
    const shown = isShown();
    if (shown) choose(here);
    if (shown || !page.place) await open("");
  } catch (problem) {
    if (problem.name !== "AbortError") {
      const { message } = problem;
      const told = message.startsWith(file.name) ? message : `${file.name}: ${message}`;
      write(at("choose-error"), `${at("choose-error").textContent}${told}\n`);
    }
  }
  row.remove();
}

// Throw an error for a folder, and for a file that cannot be read.
async function check(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error(t("notRead"));
  }
}

async function attempt(act) {
  try {
    await act();
    write(at("choose-error"), "");
  } catch (problem) {
    write(at("choose-error"), problem.message);
  }
}

// `chosen` is called with a file or null, and `told` with text for a screen reader.
export function listenToLibrary(chosen, told) {
  Object.assign(page, { choose: chosen, told });
  at("pick").addEventListener("click", () => at("picked").click());
  at("picked").addEventListener("change", () => {
    take(at("picked").files);
    at("picked").value = "";
  });
  const drop = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") take(event.dataTransfer.files);
  };
  for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, drop);
  window.addEventListener("beforeunload", (event) => {
    if (at("uploads").children.length) event.preventDefault(); // the browser asks
  });
}
