// The dashboard: which page is shown, and what stands above all pages.

import { askKey } from "./api.js";
import { follow, forget, model } from "./data.js";
import overview from "./overview.js";
import tasks from "./tasks.js";
import task from "./task.js";
import functions, { one } from "./functions.js";
import workers from "./workers.js";
import stream from "./stream.js";

const PAGES = { "": [overview, "Overview"], tasks: [tasks, "Tasks"], task: [task, "Task"], functions: [functions, "Functions"], function: [one, "Function"], workers: [workers, "Workers"], stream: [stream, "Stream"] };
const main = document.getElementById("main"), state = document.getElementById("state"), pause = document.getElementById("pause");
let draw = null;

/** Shows the page that the address names: `#/NAME/ID?QUERY`. */
function open(isFirst) {
  const [path, query] = (location.hash.slice(2) || "").split("?");
  const [name, id] = path.split("/");
  const [page, title] = PAGES[name] ?? PAGES[""];
  draw?.leave?.();
  document.querySelectorAll("dialog[open]:not(#ask)").forEach(dialog => dialog.close());
  main.replaceChildren();
  document.title = `${title} – belljar`;
  for (const link of document.querySelectorAll("header nav a")) {
    const isHere = link.hash === `#/${{ task: "tasks", function: "functions" }[name] ?? name}`;
    if (isHere) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  draw = page(main, new URLSearchParams(query), id);
  draw();
  // Readers of screens hear the new page; the keyboard goes on from its start. A filter keeps its place.
  if (isFirst !== true && !location.hash.includes("?")) main.focus({ preventScroll: true });
  if (!location.hash.includes("?")) scrollTo(0, 0);
}

function tell() {
  const { ready, workers } = model;
  const busy = workers?.reduce((sum, it) => sum + Math.min(it.busy, it.slots), 0), slots = workers?.reduce((sum, it) => sum + it.slots, 0);
  const [kind, text] = model.isDown || !ready ? ["bad", "no answer"] : !ready.ok ? ["warn", "not ready"] : ["good", workers ? `ready, ${busy} of ${slots} slots busy` : "ready"];
  if (state.textContent !== text) state.textContent = text;
  state.className = kind;
  const problem = document.getElementById("problem"), why = model.problem ?? (ready && !ready.ok ? ready.detail : null);
  problem.hidden = !why;
  if (why && problem.textContent !== why) problem.textContent = why;
}

const THEMES = ["", "light", "dark"];
function theme(name) {
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
  localStorage.setItem("belljar-theme", name);
  document.getElementById("theme").textContent = { "": "Theme", light: "Light", dark: "Dark" }[name];
  draw?.();
}
const nextTheme = () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % THEMES.length]);
const turn = () => {
  const isPaused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Paused" : "Pause";
};

document.getElementById("theme").addEventListener("click", nextTheme);
document.getElementById("key").addEventListener("click", () => askKey("Use another key in this tab.").then(() => { forget(); open(); }));
pause.addEventListener("click", turn);
addEventListener("hashchange", open);
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
  const page = ["", "tasks", "functions", "workers", "stream"][Number(event.key) - 1];
  if (page !== undefined) location.hash = `#/${page}`;
  if (event.key === "p") turn();
  if (event.key === "t") nextTheme();
  if (event.key === "/" ) { location.hash = "#/tasks"; setTimeout(() => main.querySelector("select")?.focus()); event.preventDefault(); }
});
document.querySelector(".skip").addEventListener("click", event => { event.preventDefault(); main.focus(); });

theme(localStorage.getItem("belljar-theme") ?? "");
open(true);
follow(() => pause.getAttribute("aria-pressed") === "true", () => { tell(); draw(); });
