// Workers: slots, classes, load, version; taking one out of service.

import { post } from "./api.js";
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

/** What is done with a worker. Rows change their places, so that the list listens and not the button. */
function leave(row) {
  if (row.mode === "local") return el("span.soft", { title: "It is a part of its dispatcher, and leaves with it." }, "–");
  if (row.draining) return el("span.warn", {}, row.busy ? `leaves after ${row.busy} running` : "leaves");
  return el("button", { type: "button", "aria-label": `Drain ${row.host}:${row.pid}`, "data-worker": row.worker_id, title: "It takes no more tasks, finishes what it runs, and ends." }, "Drain");
}

export default function workers(main) {
  const said = el("p.soft", { role: "status" });
  const drain = async event => {
    const button = event.target.closest("button[data-worker]");
    if (!button) return;
    button.disabled = true;
    try {
      await post(`v1/workers/${button.dataset.worker}/drain`);
      said.textContent = `${button.getAttribute("aria-label").replace("Drain ", "")} takes no more tasks.`;
    } catch (error) { said.textContent = error.message; button.disabled = false; }
  };
  const list = el("div", { onclick: drain }), figures = el("p.soft");
  main.append(el("h1", {}, "Workers"), panel("Connected workers, newest first", list, said, figures));
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
      ["Version", row => row.version || "–"],
      ["Connected since", row => clock(row.since)],
      ["Out of service", leave],
    ], model.workers, { empty: "none is connected: start one with `belljar worker`", label: "Workers" }));
    const slots_ = model.workers.reduce((sum, it) => sum + it.slots, 0);
    figures.textContent = `${model.workers.length} workers, ${number(slots_)} slots. A worker that is drained, or ended by SIGTERM, finishes what it runs. What started it may start another one in its place.`;
  };
}
