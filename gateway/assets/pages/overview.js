// Overview: rates, queues, slots, latency, failures, health.

import { bar, clock, el, link, ms, number, panel, percent, rate, replace, table } from "./dom.js";
import { functionOf, model, nameOf, recently } from "./data.js";
import { byFunction, lastMinute } from "./statistics.js";
import { chart } from "./charts.js";

const tile = (value, unit, label, kind) => el("div.panel.tile", {}, el(kind ? `b.${kind}` : "b", {}, value, unit && el("small", {}, unit)), el("span", {}, label));

function tiles() {
  const { audit, queues, workers } = model, now = Date.now();
  const { failed, queueP95, runP50, runP95 } = lastMinute();
  const slots = workers?.reduce((sum, it) => sum + it.slots, 0), busy = workers?.reduce((sum, it) => sum + Math.min(it.busy, it.slots), 0);
  const oldest = queues?.map(queue => queue.oldest_at).filter(Boolean).sort()[0];
  return [
    tile(rate(recently("completed")), "/s", "calls completed"),
    tile(percent(failed), "", "failed, 1 min", failed > .05 ? "bad" : failed > 0 ? "warn" : undefined),
    audit && tile(number(audit.queued), audit.delayed ? `+${number(audit.delayed)} delayed` : "", "waiting"),
    queues && tile(oldest ? ms(Math.max(0, now - Date.parse(oldest))) : "–", "", "oldest waits", oldest && now - Date.parse(oldest) > 60_000 ? "warn" : undefined),
    workers && tile(number(busy), `of ${number(slots)}`, "slots busy"),
    tile(ms(queueP95), "", "in queue, p95"),
    tile(ms(runP50), "", "to run, p50"),
    tile(ms(runP95), "", "to run, p95"),
  ];
}

function queueTable() {
  if (!model.queues) return el("p.empty", {}, model.refused.queues ?? "asking…");
  return table([
    ["Class", queue => el(`span.rt.${queue.class.split(":")[0]}`, {}, queue.class)],
    ["Waiting", queue => number(queue.queued), { num: true }],
    ["Oldest", queue => queue.oldest_at ? ms(Math.max(0, Date.now() - Date.parse(queue.oldest_at))) : "–", { num: true }],
    ["Workers", queue => queue.workers || el("span.bad", {}, "none"), { num: true }],
    ["Slots busy", queue => el("span", {}, bar(queue.busy / queue.slots, `${queue.busy} of ${queue.slots} slots busy`), ` ${queue.busy}/${queue.slots}`)],
  ], model.queues, { empty: "no worker and no queue", label: "Queues by class" });
}

function failureTable() {
  const kinds = new Map();
  for (const task of model.tasks.values()) {
    if (!task.failure) continue;
    const kind = kinds.get(task.failure) ?? { kind: task.failure, count: 0 };
    kinds.set(task.failure, { ...kind, count: kind.count + 1, last: task });
  }
  const rows = [...kinds.values()].sort((a, b) => b.count - a.count);
  return table([
    ["Kind", row => link(`tasks?status=FAILED&failure=${row.kind}`, row.kind)],
    ["Seen", row => number(row.count), { num: true }],
    ["Last", row => link(`task/${row.last.task_id}`, clock(row.last.finished_at))],
    ["Function", row => nameOf(row.last.function_id)],
  ], rows, { empty: "no failure among the tasks that ended lately", label: "Failures by kind" });
}

function slowTable() {
  const rows = [...byFunction()].sort((a, b) => b.p95 - a.p95).slice(0, 6);
  return table([
    ["Function", row => link(`function/${row.id}`, nameOf(row.id))],
    ["Runtime", row => el(`span.rt.${row.runtime}`, {}, row.runtime)],
    ["Calls", row => number(row.calls), { num: true }],
    ["p50", row => ms(row.p50), { num: true }],
    ["p95", row => ms(row.p95), { num: true }],
  ], rows, { label: "Slowest functions" });
}

function health() {
  const { ready, audit, workers } = model;
  const row = (name, state, text) => [el("dt", {}, name), el("dd", {}, el(`span.${state}`, {}, state === "good" ? "✓ " : "! "), text)];
  const sampled = model.ended && model.ended.completed + model.ended.failed + model.ended.cancelled;
  return el("dl", {},
    ready && row("service", ready.ok ? "good" : "bad", ready.ok ? "ready: takes calls and runs them" : ready.detail ?? "not ready"),
    ready && row("store", ready.store === "ok" ? "good" : "bad", ready.store === "ok" ? "answers" : ready.detail ?? "does not answer"),
    workers && row("workers", workers.length ? "good" : "bad", workers.length ? `${workers.length} connected, ${new Set(workers.map(it => it.host)).size} host${new Set(workers.map(it => it.host)).size === 1 ? "" : "s"}` : "none is connected"),
    audit && row("audit", audit.consistent ? "good" : "bad", `${number(audit.accepted)} accepted, ${audit.consistent ? "each in exactly one place" : "and not each is in exactly one place"}`),
    audit && row("ended", "good", `${number(audit.completed)} completed, ${number(audit.failed)} failed, ${number(audit.cancelled)} cancelled`),
    model.ended && row("sample", "good", `${number(model.tasks.size)} ended tasks here; ${number(sampled)} ended since ${clock(model.since)}`),
    Object.values(model.refused).slice(0, 1).map(why => row("key", "warn", `${why}: queues, workers and totals are left out`)));
}

export default function overview(main) {
  const of = (name, at) => one => one[name]?.[at];
  const latency = name => [["p50", "good", of(name, 0)], ["p95", "warn", of(name, 1)], ["p99", "bad", of(name, 2)]];
  const charts = [
    chart("Tasks a second", [["accepted", "soft", one => one.accepted, { dash: [4, 3] }], ["completed", "mark", one => one.completed, { fill: true }], ["failed", "bad", one => one.failed]], rate),
    chart("Waiting and running", [["waiting", "warn", one => one.queued, { fill: true }], ["running", "blue", one => one.running], ["slots", "soft", one => one.slots, { dash: [4, 3] }]], value => number(Math.round(value))),
    chart("Time in the queue", latency("queue"), ms, { log: true }),
    chart("Time to run", latency("run"), ms, { log: true }),
  ];
  const top = el("div.grid.tiles"), queues = el("div"), failures = el("div"), slow = el("div"), state = el("div");
  main.append(el("h1", {}, "Overview"), top, el("div.grid.charts", {}, charts.map(it => it.node)),
    el("div.grid.panels", {}, panel("Queues", queues), panel("Slowest functions lately", slow), panel("Failures lately", failures), panel("Health", state)));
  let ticks = 0;
  return () => {
    replace(top, ...tiles());
    // To draw is what costs most here.
    if (model.points.length < 5 || ticks++ % 2 === 0) charts.forEach(it => it.draw());
    replace(queues, queueTable()); replace(slow, slowTable()); replace(failures, failureTable()); replace(state, health());
    for (const row of model.tasks.values()) if (!functionOf(row.function_id)) { nameOf(row.function_id); break; }
  };
}
