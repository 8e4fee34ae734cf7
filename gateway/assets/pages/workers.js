// Workers: slots, classes, load.

import { bar, clock, el, link, ms, number, panel, percent, replace, short, table } from "./dom.js";
import { model } from "./data.js";
import { byWorker } from "./statistics.js";

/** Slots are drawn one by one up to so many. */
const DRAWN_SLOTS = 64;

function slots(worker) {
  const busy = Math.min(worker.busy, worker.slots), text = `${busy} of ${worker.slots} slots busy`;
  if (worker.slots > DRAWN_SLOTS) return bar(busy / worker.slots, text);
  return el("span.slots", { role: "img", "aria-label": text, title: text }, Array.from({ length: worker.slots }, (_, at) => el(at < busy ? "i.busy" : "i")));
}

export default function workers(main) {
  const list = el("div"), figures = el("p.soft");
  main.append(el("h1", {}, "Workers"), panel("Connected workers, newest first", list, figures));
  return () => {
    if (!model.workers) { replace(list, el("p.empty", {}, model.refused.workers ?? "asking…")); return; }
    const ended = byWorker();
    const of = (row, value) => ended.has(row.worker_id) ? value(ended.get(row.worker_id)) : "–";
    replace(list, table([
      ["Worker", row => link(`tasks?worker=${row.worker_id}`, `${row.host}:${row.pid}`, { title: row.worker_id })],
      ["Id", row => el("span.mono.soft", { title: row.worker_id }, short(row.worker_id))],
      ["Mode", row => row.mode],
      ["Serves", row => row.classes.flatMap((name, at) => [at ? ", " : "", el(`span.rt.${name.split(":")[0]}`, {}, name)]).reduce((all, part) => { all.append(part); return all; }, el("span"))],
      ["Slots", slots],
      ["Busy", row => `${Math.min(row.busy, row.slots)} / ${row.slots}`, { num: true }],
      ["Ended lately", row => of(row, it => number(it.calls)), { num: true }],
      ["Failed", row => of(row, it => percent(it.failed)), { num: true }],
      ["p50", row => of(row, it => ms(it.p50)), { num: true }],
      ["p95", row => of(row, it => ms(it.p95)), { num: true }],
      ["Dispatcher", row => el("span.mono.soft", { title: row.dispatcher }, short(row.dispatcher))],
      ["Connected since", row => clock(row.since)],
    ], model.workers, { empty: "none is connected: start one with `belljar worker`", label: "Workers" }));
    const slots_ = model.workers.reduce((sum, it) => sum + it.slots, 0);
    figures.textContent = `${model.workers.length} workers, ${number(slots_)} slots. To take a worker out of service, end it with SIGTERM: it finishes what it runs.`;
  };
}
