// Figures of functions and workers, from the tasks that ended lately.

import { quantile, sorted } from "./dom.js";
import { functionOf, model } from "./data.js";

/** So long figures are shown before they are reckoned again. */
const FRESH_MS = 2000;

/** What `make` gives, remembered for a while. */
function remembered(make) {
  let value, madeAt = -Infinity;
  return () => {
    if (performance.now() - madeAt > FRESH_MS) { value = make(); madeAt = performance.now(); }
    return value;
  };
}

function figures(tasks) {
  const of = name => sorted(tasks.filter(task => task.status === "COMPLETED" || task.failure === "exception").map(task => task.durations_ms[name]));
  const [slot, call] = [of("slot"), of("call")];
  const memory = sorted(tasks.map(task => task.peak_memory_bytes));
  const times = tasks.map(task => task.at);
  return {
    calls: tasks.length,
    failed: tasks.filter(task => task.status === "FAILED").length / tasks.length,
    p50: quantile(slot, .5), p95: quantile(slot, .95), p99: quantile(slot, .99),
    call: quantile(call, .5), memory: quantile(memory, .5), peak: memory.at(-1) ?? null,
    total: tasks.reduce((sum, task) => sum + (task.durations_ms.slot ?? 0), 0),
    last: Math.max(...times),
  };
}

function groups(key) {
  const found = new Map();
  for (const task of model.tasks.values()) {
    const name = key(task);
    if (name === undefined || !task.worker) continue;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(task);
  }
  return found;
}

/** Figures of the tasks that ended in the last minute: the share that failed, and times in the queue and to run. */
export const lastMinute = remembered(() => {
  const tasks = [...model.tasks.values()].filter(task => task.at > Date.now() - 60_000);
  const of = name => sorted(tasks.map(task => task.durations_ms[name]));
  const [queue, run] = [of("queue"), of("run")];
  return {
    failed: tasks.filter(task => task.status === "FAILED").length / tasks.length,
    queueP95: quantile(queue, .95), runP50: quantile(run, .5), runP95: quantile(run, .95),
  };
});

/** One row for each function and runtime. */
export const byFunction = remembered(() => [...groups(task => `${task.function_id} ${task.runtime}`)].map(([name, tasks]) => {
  const [id, runtime] = name.split(" ");
  return { id, runtime, ...figures(tasks) };
}));

/** Figures of each worker, by its id. */
export const byWorker = remembered(() => new Map([...groups(task => task.worker)].map(([id, tasks]) => [id, figures(tasks)])));

/** Functions whose code ran in both runtimes lately: what each costs. The same code may be registered more than once. */
export const prices = remembered(() => {
  const byCode = new Map();
  for (const [name, tasks] of groups(task => functionOf(task.function_id) && `${functionOf(task.function_id).code_hash ?? task.function_id} ${task.runtime}`)) {
    const [code, runtime] = name.split(" ");
    byCode.set(code, { ...byCode.get(code), code, id: tasks[0].function_id, [runtime]: figures(tasks) });
  }
  return [...byCode.values()].filter(row => row.native && row.sandbox).map(row => ({
    ...row,
    factor: row.sandbox.p50 / row.native.p50,
    more: row.sandbox.p50 - row.native.p50,
  })).sort((a, b) => b.more - a.more);
});
