// Requests to the command that serves the page.

import { at } from "./parts.js";
import { t } from "./texts.js";

export class Refused extends Error {}

async function detailOf(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

// Send a request, and return the answer. Throw Refused with the server's message if it refuses, and
// another error if it does not answer.
export async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options }).catch((problem) => {
    throw problem.name === "AbortError" ? problem : new Error(t("tooFar"));
  });
  if (answer.status === 401 && path !== "/api/session") showLogin();
  if (answer.status === 404) throw new Refused(t("gone"));
  if (!answer.ok) throw new Refused(await detailOf(answer));
  return answer;
}

export async function get(path, options = {}) {
  return (await ask(path, options)).json();
}

export function send(path, method, body) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method, headers, body: JSON.stringify(body) });
}

export function query(path, values) {
  return `${path}?${new URLSearchParams(values)}`;
}

// Send a file from the disk. `moved` is called with the number of bytes sent.
export function upload(file, moved) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.open("PUT", `/api/uploads/${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => moved(event.loaded));
    request.addEventListener("error", () => reject(new Error(t("tooFar"))));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    request.addEventListener("load", () => {
      const { status, statusText } = request;
      const answer = new Response(request.responseText, { status, statusText });
      if (status === 201) resolve(answer.json());
      else detailOf(answer).then((detail) => reject(new Refused(detail)));
    });
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}

function showLogin() {
  at("files").hidden = true;
  at("logout").hidden = true;
  if (!at("login").hidden) return;
  at("login").hidden = false;
  at("token").focus();
}

// `entered` is called after each login.
export function listenToLogin(entered) {
  at("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send("/api/session", "POST", { token: at("token").value });
    } catch (problem) {
      at("login-error").textContent = problem.message;
      return;
    }
    at("login-error").textContent = at("token").value = "";
    at("login").hidden = true;
    localStorage.setItem("session", "yes");
    entered();
  });
  at("logout").addEventListener("click", async () => {
    await ask("/api/session", { method: "DELETE" });
    localStorage.removeItem("session");
    showLogin();
  });
}
