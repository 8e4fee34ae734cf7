// Functions: calls, failures, latency, memory, and what isolation costs.

import { get } from "./api.js";
import { bar, bytes, clock, el, link, ms, number, panel, percent, replace, table } from "./dom.js";
import { functionOf, listFunctions, nameOf } from "./data.js";
import { byFunction, prices } from "./statistics.js";
import { taskTable } from "./tasks.js";

const runtime = row => el(`span.rt.${row.runtime}`, {}, row.runtime);

/** How much more a call takes in the sandbox, in words. */
export const price = row => `× ${row.factor < 9.95 ? row.factor.toFixed(1) : Math.round(row.factor)}, ${row.more >= 0 ? "+" : "−"}${ms(Math.abs(row.more))}`;

function priceTable(rows) {
  const most = Math.max(...rows.map(row => row.sandbox.p50));
  const side = (row, name) => el("span", {}, bar(row[name].p50 / most, `${name} ${ms(row[name].p50)}`), ` ${ms(row[name].p50)}`);
  return table([
    ["Function", row => link(`function/${row.id}`, nameOf(row.id))],
    ["Native p50", row => side(row, "native")],
    ["Sandbox p50", row => side(row, "sandbox")],
    ["Isolation costs", row => el("span.price", {}, price(row)), { num: true }],
    ["Call alone", row => `${ms(row.native.call)} → ${ms(row.sandbox.call)}`, { num: true }],
    ["Memory", row => `${bytes(row.native.memory)} → ${bytes(row.sandbox.memory)}`, { num: true }],
    ["Calls", row => `${number(row.native.calls)}, ${number(row.sandbox.calls)}`, { num: true }],
  ], rows, { empty: "no function ran in both runtimes lately: register the same function for both, or call a native one with runtime \"sandbox\"", label: "Native beside sandbox" });
}

const sort = { by: 5, down: true };

function figureTable(again) {
  const rows = byFunction(), busiest = Math.max(...rows.map(row => row.total));
  return table([
    ["Function", row => link(`function/${row.id}`, nameOf(row.id)), { value: row => nameOf(row.id) }],
    ["Runtime", runtime, { value: row => row.runtime }],
    ["Calls", row => number(row.calls), { num: true, value: row => row.calls }],
    ["Failed", row => el(row.failed ? "a.bad" : "span", row.failed ? { href: `#/tasks?status=FAILED&function_id=${row.id}` } : {}, percent(row.failed)), { num: true, value: row => row.failed }],
    ["p50", row => ms(row.p50), { num: true, value: row => row.p50 }],
    ["p95", row => ms(row.p95), { num: true, value: row => row.p95 }],
    ["p99", row => ms(row.p99), { num: true, value: row => row.p99 }],
    ["Memory p50", row => bytes(row.memory), { num: true, value: row => row.memory }],
    ["Peak", row => bytes(row.peak), { num: true, value: row => row.peak }],
    ["Share of the slots' time", row => bar(row.total / busiest, ms(row.total)), { value: row => row.total }],
    ["Last end", row => clock(new Date(row.last).toISOString()), { value: row => row.last }],
  ], rows, { sort, again, label: "Functions", empty: "no call ended lately" });
}

export default function functions(main) {
  const figures = el("div"), cost = el("div"), registered = el("div");
  main.append(el("h1", {}, "Functions"), panel("Calls that ended lately: time in the slot, failures, memory", figures),
    panel("Native beside sandbox: what isolation costs", cost), panel("Registered, newest first", registered));
  let items = [];
  listFunctions().then(found => { items = found; draw(); }, error => replace(registered, el("p.bad", {}, error.message)));
  const show = () => table([
    ["Function", row => link(`function/${row.function_id}`, row.name || "(no name)")],
    ["Runtime", row => el(`span.rt.${row.runtime}`, {}, `${row.runtime} ${row.python}`)],
    ["Time limit", row => `${row.limits.timeout_s} s`, { num: true }],
    ["Memory limit", row => `${number(row.limits.memory_mb)} MiB`, { num: true }],
    ["Code", row => bytes(row.code_bytes), { num: true }],
    ["Registered", row => clock(row.registered_at)],
    ["Description", row => row.description, { wide: true }],
  ], items.slice(0, 50), { empty: "none is registered", label: "Registered functions" });
  const draw = () => {
    replace(figures, figureTable(by => { replace(figures, figureTable(draw)); figures.querySelectorAll("th button")[by]?.focus(); draw(); }));
    replace(cost, priceTable(prices()));
    replace(registered, show());
  };
  return draw;
}

/** One function. */
export function one(main, _, id) {
  const title = el("h1", {}, nameOf(id)), figures = el("div"), cost = el("div"), facts = el("div"), rows = el("div.panel");
  main.append(title, panel("Calls that ended lately", figures), panel("What isolation costs", cost), panel("Facts", facts),
    el("div.actions", {}, el("b", {}, "Newest calls"), link(`tasks?function_id=${id}`, "all"), link(`tasks?function_id=${id}&status=FAILED`, "failed")), rows);
  const leave = new AbortController();
  let readAt = 0, tasks = [];
  const read = async () => {
    readAt = performance.now();
    try { tasks = (await get("v1/tasks", { function_id: id, limit: 20 }, leave.signal)).items; } catch (error) { if (error.name !== "AbortError") replace(rows, el("p.bad", {}, error.message)); return; }
    replace(rows, taskTable(tasks, { empty: "none among the newest tasks", label: "Newest calls" }));
  };
  const draw = () => {
    if (performance.now() - readAt > 3000) read();
    const known = functionOf(id);
    title.textContent = nameOf(id);
    replace(figures, table([
      ["Runtime", runtime], ["Calls", row => number(row.calls), { num: true }], ["Failed", row => percent(row.failed), { num: true }],
      ["p50", row => ms(row.p50), { num: true }], ["p95", row => ms(row.p95), { num: true }], ["p99", row => ms(row.p99), { num: true }],
      ["Memory p50", row => bytes(row.memory), { num: true }], ["Peak", row => bytes(row.peak), { num: true }],
    ], byFunction().filter(row => row.id === id), { empty: "no call ended lately", label: "Figures" }));
    replace(cost, priceTable(prices().filter(row => row.code === (known?.code_hash ?? id))));
    if (known && !known.deleted) replace(facts, el("dl", {}, [["id", el("span.mono", {}, id)], ["runtime", `${known.runtime} ${known.python}`], ["description", known.description || "–"],
      ["limits", `${known.limits.timeout_s} s, ${number(known.limits.memory_mb)} MiB, ${known.limits.max_retries} retries`], ["grants", known.grants ? JSON.stringify(known.grants) : "none"],
      ["code", `${bytes(known.code_bytes)}, BLAKE3 ${known.code_hash}`], ["registered", clock(known.registered_at)]].flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  };
  return Object.assign(draw, { leave: () => leave.abort() });
}
