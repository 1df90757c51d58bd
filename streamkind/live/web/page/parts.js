// Shared by the pages: nodes with text, repeated calls, and the divider of before and after.

export const at = (id) => document.getElementById(id);

// Content is inserted as text, never as HTML.
export function make(tag, text = "", attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function write(node, text) {
  if (node.textContent !== text) node.textContent = text; // screen readers read changed text again
}

// Let `act` change the items of a list, each with a data-key. The keyboard's focus stays on the same
// button, which is known by its data-does. If it is gone, the focus goes to the first button of the
// same item, else of the item that is now at its place, else to `otherwise`.
export function keepFocus(list, otherwise, act) {
  const held = document.activeElement;
  const item = list.contains(held) ? held.closest("li") : null;
  const place = [...list.children].indexOf(item);
  act();
  if (!item || document.activeElement === held) return;
  const items = [...list.children];
  const same = items.find((known) => known.dataset.key === item.dataset.key);
  const buttons = [...(same ?? items[Math.min(place, items.length - 1)] ?? list)
    .querySelectorAll("button, a")];
  const again = same && buttons.find((button) => button.dataset.does === held.dataset.does);
  (again ?? buttons[0] ?? otherwise).focus();
}

// Call `act` repeatedly, with a pause in milliseconds. `answered` is called with its success.
export function repeat(act, pause, answered) {
  const loop = { timer: 0, running: false, again: false };
  const run = async () => {
    if (loop.running) {
      loop.again = true;
      return;
    }
    loop.running = true;
    clearTimeout(loop.timer);
    try {
      await act();
      answered(true);
    } catch {
      answered(false);
    }
    loop.running = false;
    loop.timer = setTimeout(run, loop.again ? 0 : pause);
    loop.again = false;
  };
  return { soon: run };
}

const STEPS = {
  ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10,
  Home: -100, End: 100,
};

// Let pointer and keyboard move a divider over a stage. `moved` takes the share of before in
// percent, and returns how a screen reader says it.
export function listenToDivider(stage, divider, moved) {
  let percent = 50;
  const move = (wanted) => {
    percent = Math.min(100, Math.max(0, wanted));
    stage.style.setProperty("--at", `${percent}%`);
    divider.setAttribute("aria-valuenow", Math.round(percent));
    divider.setAttribute("aria-valuetext", moved(percent));
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * 100);
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    divider.focus({ preventScroll: true, focusVisible: false });
    event.preventDefault();
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    move(percent + STEPS[event.key]);
  });
  move(50);
  return move;
}
