// The list of tasks, with its filters in the address.

import { get } from "./api.js";
import { bytes, clock, el, link, ms, replace, short, table } from "./dom.js";
import { listFunctions, model, nameOf } from "./data.js";
import { phaseBar } from "./phases.js";

const STATUSES = ["QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"];
const FAILURES = ["exception", "decode", "encode", "timeout", "memory", "recursion", "limit", "denied", "executor_died", "worker_lost"];
/** How many tasks are shown at once, and how often they are read again. */
const SHOWN = 50, EVERY_MS = 3000;

const COLUMNS = [
  ["Status", task => el(`span.pill.${task.status}`, {}, task.status)],
  ["Task", task => link(`task/${task.task_id}`, short(task.task_id), { className: "mono", title: task.task_id })],
  ["Function", task => link(`function/${task.function_id}`, nameOf(task.function_id))],
  ["Runtime", task => el(`span.rt.${task.runtime}`, {}, `${task.runtime} ${task.python}`)],
  ["Accepted", task => clock(task.accepted_at)],
  ["Queue", task => ms(task.durations_ms?.queue), { num: true }],
  ["Run", task => ms(task.durations_ms?.run), { num: true }],
  ["Where the time went", task => task.durations_ms ? phaseBar(task.durations_ms) : ""],
  ["Memory", task => bytes(task.peak_memory_bytes), { num: true }],
  ["Worker", task => task.worker ? link(`tasks?worker=${task.worker}`, workerName(task.worker), { title: task.worker }) : "–"],
  ["Failure", task => task.failure ? el("span.bad", {}, task.failure) : ""],
];

/** A worker as people know it. */
export function workerName(id) {
  const worker = model.workers?.find(it => it.worker_id === id);
  return worker ? `${worker.host}:${worker.pid}` : short(id);
}

/** A table of tasks. */
export const taskTable = (tasks, options) => table(COLUMNS, tasks.filter(task => task.task_id), options);

function choice(name, label, values, query) {
  const options = [["", "any"], ...values.map(value => Array.isArray(value) ? value : [value, value])];
  const chosen = query.get(name) ?? "";
  if (chosen && !options.some(([value]) => value === chosen)) options.push([chosen, short(chosen)]);
  return el("label", {}, label, el("select", { name }, options.map(([value, text]) => el("option", { value, selected: value === chosen }, text))));
}

const local = text => { const time = new Date(text); return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16); };

export default function tasks(main, query) {
  const registered = el("label"), worker = el("label"), rows = el("div.panel"), below = el("div.actions");
  const time = (name, label) => el("label", {}, label, el("input", { type: "datetime-local", name, value: query.get(name) ? local(query.get(name)) : "" }));
  const form = el("form.filter", { "aria-label": "Filter", onchange: () => apply(), onsubmit: event => { event.preventDefault(); apply(); } },
    choice("status", "Status", STATUSES, query), choice("function_id", "Function", [], query), choice("runtime", "Runtime", ["native", "sandbox"], query),
    choice("worker", "Worker", [], query), choice("failure", "Failure", FAILURES, query), time("from", "Accepted from"), time("before", "before"),
    el("button", { type: "button", onclick: () => { location.hash = "#/tasks"; } }, "Clear"));
  main.append(el("h1", {}, "Tasks ", el("span.soft", {}, "newest first, among the newest 100,000")), form, rows, below);

  const apply = () => {
    const given = [...new FormData(form)].filter(([, value]) => value).map(([name, value]) => [name, ["from", "before"].includes(name) ? new Date(value).toISOString() : value]);
    location.hash = `#/tasks?${new URLSearchParams(given)}`;
  };
  const fill = (name, values) => {
    const select = form.elements[name], chosen = select.value, known = new Set([...select.options].map(it => it.value));
    for (const [value, text] of values) {
      if (!known.has(value)) select.append(el("option", { value }, text));
      else if (value) [...select.options].find(it => it.value === value).textContent = text;
    }
    select.value = chosen;
  };
  listFunctions().then(items => fill("function_id", items.map(it => [it.function_id, `${it.name} (${it.runtime})`])), () => {});

  const filter = Object.fromEntries(query), leave = new AbortController();
  // Names of functions and workers may come later than tasks.
  const named = () => `${model.named} ${model.workers?.length}`;
  let pages = [], readAt = 0, isReading = false, shownWith = "";
  const read = async cursor => {
    if (isReading) return;
    isReading = true;
    try {
      // Few may match among many: a page may be short though more follow.
      const found = { items: [], next: cursor };
      for (let tries = 0; tries < 5 && found.items.length < SHOWN; tries++) {
        const page = await get("v1/tasks", { ...filter, cursor: found.next, limit: SHOWN - found.items.length }, leave.signal);
        found.items.push(...page.items);
        found.next = page.next;
        if (!page.next) break;
      }
      pages = cursor ? [...pages, found] : [found];
      readAt = performance.now();
      show();
    } catch (error) {
      if (error.name !== "AbortError") replace(rows, el("p.bad", {}, error.message));
    } finally { isReading = false; }
  };
  const show = () => {
    shownWith = named();
    replace(rows, taskTable(pages.flatMap(page => page.items), { empty: pages.at(-1)?.next ? "none among those looked at so far: look further back" : "no task matches", label: "Tasks" }));
    const next = pages.at(-1)?.next;
    replace(below, next && el("button", { type: "button", onclick: () => read(pages.at(-1).next) }, "Older"), pages.length > 1 && el("span.soft", {}, "not updated while older tasks are shown"));
  };
  rows.addEventListener("keydown", event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...rows.querySelectorAll('a[href^="#/task/"]')], at = links.indexOf(document.activeElement);
    if (!step || at < 0) return;
    links[at + step]?.focus();
    event.preventDefault();
  });
  read();
  const draw = () => {
    if (model.workers) fill("worker", model.workers.map(it => [it.worker_id, `${it.host}:${it.pid}`]));
    if (pages.length < 2 && performance.now() - readAt > EVERY_MS) read();
    else if (pages.length && shownWith !== named()) show();
  };
  return Object.assign(draw, { leave: () => leave.abort() });
}
