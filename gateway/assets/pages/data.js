// What the pages show: asked for once a second, in aggregates, however many tasks there are.

import { get, ready, Refused } from "./api.js";
import { quantile, sorted } from "./dom.js";

/** How often the service is asked. */
const PERIOD_MS = 1000;
/** How far back charts reach. */
export const HISTORY_S = 300;
/** How many ended tasks are kept, the newest. */
const KEPT = 5000;
/** Percentiles of a moment are of the tasks that ended in the seconds before it. */
const WINDOW_MS = 10_000;

export const model = {
  /** Ended tasks by id, in the order of their ends. */
  tasks: new Map(),
  /** Points of the charts. */
  points: [],
  ready: null, audit: null, queues: null, workers: null,
  /** All ends since the page was opened, and how many of them are in `tasks`. */
  ended: null, since: null,
  /** How many functions' names are known. */
  get named() { return functions.size; },
  /** What cannot be asked for, and why. */
  refused: {},
  isDown: false,
};

const functions = new Map();
const asked = new Set();

/** The record of a function, if it is known already. */
export const functionOf = id => functions.get(id);

/** What a function is called. */
export function nameOf(id) {
  const known = functions.get(id);
  if (!known && id && !asked.has(id)) {
    asked.add(id);
    get(`v1/functions/${id}`).then(it => functions.set(id, it), error => {
      if (error.status === 404) functions.set(id, { function_id: id, name: `deleted ${id.slice(0, 8)}`, deleted: true });
      else asked.delete(id);
    });
  }
  return known?.name || (known ? "(no name)" : id?.slice(0, 8));
}

/** All functions that are registered, the newest 1,000. */
export async function listFunctions() {
  const { items } = await get("v1/functions", { limit: 1000 });
  const found = items.filter(item => item.function_id);
  for (const item of found) { functions.set(item.function_id, item); asked.add(item.function_id); }
  return found;
}

let next = "", last = null;

/** The same question, unless the key may not ask it. */
async function ask(name, path) {
  if (model.refused[name]) return null;
  try {
    return await get(path);
  } catch (error) {
    if (error instanceof Refused && error.status === 403) { model.refused[name] = error.message; return null; }
    throw error;
  }
}

/** Forgets which questions a key may not ask. */
export function forget() {
  model.refused = {};
  model.tasks.clear(); model.points = []; functions.clear(); asked.clear(); next = ""; last = null;
}

function keep(items) {
  for (const item of items) {
    item.at = Date.parse(item.finished_at);
    item.start = item.at - (item.durations_ms.slot ?? 0);
    model.tasks.delete(item.task_id);
    model.tasks.set(item.task_id, item);
  }
  for (const id of model.tasks.keys()) {
    if (model.tasks.size <= KEPT) break;
    model.tasks.delete(id);
  }
}

/** Percentiles of the tasks that ended in the seconds up to a time. */
function percentiles(until, tasks) {
  const recent = tasks.filter(task => task.at > until - WINDOW_MS && task.at <= until);
  const of = name => {
    const values = sorted(recent.map(task => task.durations_ms[name]));
    return [.5, .95, .99].map(share => quantile(values, share));
  };
  return { queue: of("queue"), run: of("run") };
}

/** Points of the time before the page was opened, as far as ended tasks tell. */
function lookBack(now) {
  const tasks = [...model.tasks.values()];
  const from = Math.max(now - HISTORY_S * 1000, Math.min(...tasks.map(task => task.at), now));
  for (let at = from; at < now - PERIOD_MS; at += 5000) model.points.push({ t: at / 1000, ...percentiles(at, tasks) });
}

function point(now) {
  const { audit, workers } = model;
  const one = { t: now / 1000, ...percentiles(now, [...model.tasks.values()].slice(-2000)) };
  if (audit) Object.assign(one, { queued: audit.queued + audit.delayed, running: audit.running });
  if (workers) {
    one.slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
    one.busy = workers.reduce((sum, worker) => sum + Math.min(worker.busy, worker.slots), 0);
  }
  const counts = { accepted: audit?.accepted, completed: model.ended?.completed, failed: model.ended?.failed };
  if (last && last.since === model.since) {
    const elapsed = (now - last.now) / 1000;
    for (const name of Object.keys(counts)) {
      if (counts[name] !== undefined && last.counts[name] !== undefined) one[name] = Math.max(0, counts[name] - last.counts[name]) / elapsed;
    }
  }
  last = { now, counts, since: model.since };
  model.points.push(one);
  while (model.points.length && model.points[0].t < one.t - HISTORY_S) model.points.shift();
}

/** The rate of the last seconds, from the points. */
export function recently(name, seconds = 5) {
  const values = model.points.slice(-seconds).map(one => one[name]).filter(value => value !== undefined);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

async function tick() {
  const [state, activity, audit, queues, workers] = await Promise.all([
    ready(), ask("activity", `v1/activity?after=${next}`), ask("audit", "v1/audit"), ask("queues", "v1/queues"), ask("workers", "v1/workers?limit=1000"),
  ]);
  const now = Date.now();
  Object.assign(model, { ready: state, audit, queues: queues?.items, workers: workers?.items });
  if (activity) {
    const isFirst = !model.since;
    Object.assign(model, { ended: activity.ended, since: activity.since });
    next = activity.next;
    keep(activity.items);
    if (isFirst) lookBack(now);
  }
  point(now);
}

/** Asks again and again, and calls `changed` after each answer; not while the page is hidden or `isPaused`. */
export async function follow(isPaused, changed) {
  for (;;) {
    if (!document.hidden && !isPaused()) {
      const begun = performance.now();
      try { await tick(); model.isDown = false; model.problem = null; } catch (error) {
        model.isDown = !(error instanceof Refused);
        model.problem = model.isDown ? "the gateway does not answer" : error.message;
      }
      changed();
      // Where answers are slow, half of the time is left to others.
      await new Promise(resolve => setTimeout(resolve, Math.max(PERIOD_MS, performance.now() - begun)));
    } else await new Promise(resolve => setTimeout(resolve, 250));
  }
}
