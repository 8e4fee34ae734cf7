// What ran when: one row a slot, one bar a call.

import { clock, color, el, link, ms, panel, replace, table, theme } from "./dom.js";
import { model, nameOf } from "./data.js";
import { workerName } from "./tasks.js";

const ROW = 15, LABEL = 170, AXIS = 22, MAX_ROWS = 120;

/** Far from each other, and from the red of failures. */
const HUES = [173, 214, 265, 42, 122, 310, 235, 78, 192, 288, 142, 58];
const hues = new Map();

/** A colour for each name, the next of the list; one function in both runtimes has one. */
function hue(name) {
  if (!hues.has(name)) hues.set(name, HUES[hues.size % HUES.length]);
  return hues.get(name);
}

/** The calls of a span in rows: those of a worker that overlap are in different ones, as they were in different slots. */
function rows(from) {
  const workers = new Map();
  for (const task of model.tasks.values()) {
    if (!task.worker || task.at < from) continue;
    if (!workers.has(task.worker)) workers.set(task.worker, []);
    workers.get(task.worker).push(task);
  }
  const found = [];
  for (const [worker, tasks] of [...workers].sort(([a], [b]) => a < b ? -1 : 1)) {
    const most = model.workers?.find(it => it.worker_id === worker)?.slots ?? 8, lanes = [];
    for (const task of tasks.sort((a, b) => a.start - b.start)) {
      // Ends are known to about a millisecond.
      let at = lanes.findIndex(lane => lane.at(-1).at <= task.start + 1);
      if (at < 0) at = lanes.length < most ? lanes.push([]) - 1 : lanes.reduce((best, lane, n) => lane.at(-1).at < lanes[best].at(-1).at ? n : best, 0);
      lanes[at].push(task);
    }
    lanes.forEach((lane, slot) => found.push({ worker, slot, tasks: lane }));
  }
  return found;
}

export default function stream(main, query) {
  let span = Number(query.get("span")) || 30, boxes = [], pointed = null;
  const canvas = el("canvas.stream", { tabIndex: 0, role: "img", "aria-label": "Calls by slot over time; the table below lists the same. Left and right select a call, Enter opens it." });
  const told = el("p.soft", { role: "status" }, "Point at a bar, or focus the picture and press the left and right arrow keys."), legend = el("div.legend"), last = el("div");
  const choose = el("select", { "aria-label": "Span", onchange: () => { span = Number(choose.value); paint(); } }, [5, 10, 30, 60, 300].map(value => el("option", { value, selected: value === span }, `${value} s`)));
  main.append(el("h1", {}, "Stream ", el("span.soft", {}, "one row a slot, one bar a call ")), el("div.actions", {}, el("label", {}, "Span ", choose)), panel("Calls that ended", canvas, legend, told), panel("Newest", last));

  const tell = box => {
    pointed = box?.task.task_id ?? null;
    if (box) replace(told, `${nameOf(box.task.function_id)} (${box.task.runtime}), ${box.task.status}${box.task.failure ? ` (${box.task.failure})` : ""}, ${ms(box.task.durations_ms.slot)} on ${workerName(box.task.worker)}, ended ${clock(box.task.finished_at)}: `, link(`task/${box.task.task_id}`, "open"));
  };
  canvas.addEventListener("pointermove", event => {
    const hit = boxes.findLast(box => event.offsetY >= box.y && event.offsetY < box.y + ROW && event.offsetX >= box.x - 1 && event.offsetX <= box.x + box.w + 1);
    canvas.style.cursor = hit ? "pointer" : "";
    if (hit && hit.task.task_id !== pointed) { tell(hit); paint(); }
  });
  const open = () => { if (pointed) location.hash = `#/task/${pointed}`; };
  canvas.addEventListener("click", open);
  canvas.addEventListener("keydown", event => {
    if (event.key === "Enter") return open();
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !boxes.length) return;
    const order = [...boxes].sort((a, b) => a.task.at - b.task.at), at = order.findIndex(box => box.task.task_id === pointed);
    tell(order[at < 0 ? order.length - 1 : Math.max(0, Math.min(order.length - 1, at + step))]);
    paint();
    event.preventDefault();
  });

  function paint() {
    const width = canvas.clientWidth, now = Date.now(), from = now - span * 1000;
    if (!width) return;
    const all = rows(from), shown = all.slice(0, MAX_ROWS), height = Math.max(4, shown.length) * ROW + AXIS, ratio = devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d"), x = time => LABEL + (width - LABEL) * (time - from) / (now - from);
    const [ink, soft, line, bad, hover] = ["ink", "soft", "line", "bad", "hover"].map(color), isDark = theme() === "dark";
    pen.scale(ratio, ratio); pen.font = "11px system-ui"; pen.textBaseline = "middle";
    boxes = [];
    const functions = new Map();
    shown.forEach(({ worker, slot, tasks }, at) => {
      const y = at * ROW;
      if (at % 2) { pen.fillStyle = hover; pen.fillRect(LABEL, y, width - LABEL, ROW); }
      if (slot === 0) { pen.fillStyle = ink; pen.fillText(workerName(worker), 0, y + ROW / 2, LABEL - 30); pen.fillStyle = line; pen.fillRect(0, y, width, 1); }
      pen.fillStyle = soft; pen.fillText(String(slot + 1), LABEL - 22, y + ROW / 2);
      for (const task of tasks) {
        const left = Math.max(LABEL, x(task.start)), w = Math.max(1, x(task.at) - left), name = nameOf(task.function_id), h = hue(name);
        const shade = `hsl(${h} ${isDark ? "48% 58%" : "52% 46%"})`;
        functions.set(name, shade);
        pen.fillStyle = task.status === "FAILED" ? bad : shade;
        pen.fillRect(left, y + 2, w, ROW - 4);
        if (task.task_id === pointed) { pen.strokeStyle = ink; pen.lineWidth = 2; pen.strokeRect(left - 1, y + 1, w + 2, ROW - 2); }
        boxes.push({ x: left, y, w, task });
      }
    });
    pen.fillStyle = soft; pen.fillRect(LABEL, height - AXIS, width - LABEL, 1);
    for (let back = 0; back <= 5; back++) {
      pen.textAlign = back === 0 ? "right" : back === 5 ? "left" : "center";
      pen.fillText(back ? `−${span * back / 5} s` : "now", x(now - span * 200 * back), height - AXIS / 2);
    }
    pen.textAlign = "left";
    const marks = [...functions].slice(0, 12).map(([name, shade]) => { const mark = el("i"); mark.style.background = shade; return el("span", {}, mark, name); });
    const mark = el("i"); mark.style.background = "var(--bad)";
    replace(legend, ...marks, el("span", {}, mark, "failed"), all.length > MAX_ROWS && el("span", {}, `${all.length - MAX_ROWS} further rows are left out`));
  }

  const draw = () => {
    paint();
    replace(last, table([
      ["Task", task => link(`task/${task.task_id}`, task.task_id.slice(0, 8), { className: "mono" })],
      ["Function", task => nameOf(task.function_id)], ["Status", task => el(`span.pill.${task.status}`, {}, task.status)],
      ["Worker", task => workerName(task.worker)], ["Slot time", task => ms(task.durations_ms.slot), { num: true }], ["Ended", task => clock(task.finished_at)],
    ], [...model.tasks.values()].slice(-10).reverse(), { label: "Newest calls" }));
  };
  return draw;
}
