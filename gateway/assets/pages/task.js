// One task: why it waits, how far it has come, where its time went, what it writes, why it failed; cancel, run again.

import { content, events, get, post } from "./api.js";
import { bar, bytes, clock, el, link, ms, number, panel, percent, replace } from "./dom.js";
import { functionOf, nameOf } from "./data.js";
import { phaseBar } from "./phases.js";
import { pickled } from "./pickle.js";
import { workerName } from "./tasks.js";

const ENDED = ["COMPLETED", "FAILED", "CANCELLED"];
/** The arguments `((), {})` are not longer than this. */
const NO_ARGUMENTS_BYTES = 15;

const output = (name, stream) => stream?.total_bytes > 0 && panel(`${name}, ${stream.text.length < stream.total_bytes ? `the end of ${bytes(stream.total_bytes)}` : bytes(stream.total_bytes)}`, el("pre", { tabIndex: 0, "aria-label": name }, stream.text));

/** How many characters of a running task's output are shown, the last ones. */
const LIVE_CHARACTERS = 64 << 10;

/** What a running task has written since the page was opened, and what its worker still had of before. */
function liveOutput(name, text) {
  return text && panel(`${name}, as it comes`, el("pre", { tabIndex: 0, "aria-label": name }, text));
}

function progressOf({ progress, status }) {
  if (!progress) return null;
  const { done, total, note } = progress, share = total ? done / total : null;
  const text = `${number(done)}${total ? ` of ${number(total)}, ${percent(share)}` : ""}`;
  return el("section.panel", { id: "progress", "aria-label": "Progress" }, el("h2", {}, ENDED.includes(status) ? "How far it came" : "Progress"),
    el("p", {}, total ? bar(share, text) : null, " ", text, note ? ` – ${note}` : ""));
}

function failure({ failure }) {
  if (!failure) return null;
  return el("section.panel", { "aria-label": "Failure" }, el("h2", {}, `Failure: ${failure.kind}`), el("div.bad", { id: "failure" }, failure.message),
    failure.hint && el("p", {}, el("b", {}, "hint: "), failure.hint),
    failure.traceback && el("pre", { id: "traceback", tabIndex: 0, "aria-label": "Traceback" }, failure.traceback));
}

const fact = (name, value) => value !== undefined && value !== null && value !== "" && value !== false ? [el("dt", {}, name), el("dd", {}, value)] : [];

function facts(task) {
  const { limits } = task;
  return el("dl.facts", {},
    fact("function", link(`function/${task.function_id}`, nameOf(task.function_id))),
    fact("runtime", el(`span.rt.${task.runtime}`, {}, `${task.runtime} ${task.python}`)),
    fact("priority", task.priority),
    fact("accepted", clock(task.accepted_at)), fact("due", task.due_at && clock(task.due_at)), fact("started", task.started_at && clock(task.started_at)),
    fact("finished", task.finished_at && clock(task.finished_at)), fact("kept until", task.expires_at && clock(task.expires_at)),
    fact("attempts", `${task.attempts}${task.deaths ? `, ${task.deaths} of them died` : ""} (retries allowed: ${limits.max_retries})`),
    task.losses.map(loss => fact("lost", el("span.bad", {}, loss))),
    fact("time limit", `${limits.timeout_s} s`),
    fact("memory", `${bytes(task.peak_memory_bytes)} of ${number(limits.memory_mb)} MiB allowed`),
    fact("processor time", task.durations_ms.cpu !== null && ms(task.durations_ms.cpu)),
    fact("worker", task.worker && link(`tasks?worker=${task.worker}`, workerName(task.worker), { title: task.worker })),
    fact("trace", task.trace_id),
    fact("arguments", bytes(task.args_bytes)),
    fact("result", ENDED.includes(task.status) && `${bytes(task.result_bytes)}${task.result_kind ? `, ${task.result_kind}` : ""}`),
    fact("names", task.result_globals?.join(", ")),
    task.grants && fact("grants", JSON.stringify(task.grants)));
}

/** The files that it left. They are saved, never shown: what functions wrote is not trusted. */
function files(task, said) {
  if (!task.files?.length) return null;
  const save = async name => {
    try {
      const href = URL.createObjectURL(await content(`v1/tasks/${task.task_id}/files/${encodeURIComponent(name)}`));
      el("a", { href, download: name.split("/").pop() }).click();
      URL.revokeObjectURL(href);
      said.textContent = `saved ${name}`;
    } catch (error) { said.textContent = error.message; }
  };
  const row = file => el("tr", {}, el("td.mono", {}, file.name), el("td.num", {}, bytes(file.bytes)), el("td", {}, el("button", { type: "button", "aria-label": `Save ${file.name}`, onclick: () => save(file.name) }, "Save")));
  return panel("Files", el("table", {}, el("tbody", {}, task.files.map(row))));
}

/** Asks for arguments, and submits the call with them. */
function runAgain(task) {
  const args = el("textarea", { rows: 2, value: "[]", name: "args", className: "mono" }), kwargs = el("textarea", { rows: 2, value: "{}", name: "kwargs", className: "mono" });
  const wrong = el("p.bad", { role: "alert" });
  const submit = async event => {
    event.preventDefault();
    try {
      const [list, named] = [JSON.parse(args.value), JSON.parse(kwargs.value)];
      if (!Array.isArray(list) || typeof named !== "object" || named === null || Array.isArray(named)) throw new Error("arguments are a list, and named ones an object");
      const { task_id } = await post("execute_function", { function_id: task.function_id, payload: pickled(list, named), runtime: task.runtime });
      dialog.close();
      location.hash = `#/task/${task_id}`;
    } catch (error) { wrong.textContent = error.message; }
  };
  const dialog = el("dialog", { "aria-label": "Run again", onclose: () => dialog.remove() }, el("form", { onsubmit: submit },
    el("h2", {}, `Run ${nameOf(task.function_id)} again, ${task.runtime}`),
    el("p.soft", {}, task.args_bytes <= NO_ARGUMENTS_BYTES ? "This call had no arguments." : `This call had arguments of ${bytes(task.args_bytes)}. The service keeps arguments only until a task has ended: write them again, as JSON.`),
    el("label", {}, "Arguments ", args), el("label", {}, "Named arguments ", kwargs), wrong,
    el("div.actions", {}, el("button", {}, "Run"), el("button", { type: "button", onclick: () => dialog.close() }, "Close"))));
  document.body.append(dialog);
  dialog.showModal();
}

export default function page(main, _, id) {
  const leave = new AbortController(), body = el("div"), said = el("span.soft", { role: "status" });
  let task, readAt = 0, live = { stdout: "", stderr: "" };
  const status = el("span"), title = el("h1", {}, "Task ", el("span.mono", {}, id), " ", status);
  const cancel = el("button", { type: "button", onclick: async () => {
    try { said.textContent = `cancel: ${(await post(`v1/tasks/${id}/cancel`)).status}`; read(); } catch (error) { said.textContent = error.message; }
  } }, "Cancel");
  const again = el("button", { type: "button", onclick: () => runAgain(task) }, "Run again");
  main.append(title, el("div.actions", {}, cancel, again, said), body);
  cancel.disabled = again.disabled = true;

  const show = () => {
    cancel.disabled = ENDED.includes(task.status);
    again.disabled = !!functionOf(task.function_id)?.deleted;
    replace(status, el(`span.pill.${task.status}`, {}, task.status));
    // What is selected or scrolled is left alone once nothing changes any more.
    if (body.dataset.shown === "ended" && functionOf(task.function_id)) return;
    body.dataset.shown = ENDED.includes(task.status) && functionOf(task.function_id) ? "ended" : "";
    replace(body,
      task.waiting && el("div.note", { id: "waiting" }, el("b", {}, `It waits: ${task.waiting.detail}.`), el("p", {}, `Since ${clock(task.due_at ?? task.accepted_at)}, class ${task.runtime}:${task.python}, priority ${task.priority}.`)),
      failure(task),
      progressOf(task),
      panel("Where the time went", phaseBar(task.durations_ms, true)),
      panel("Facts", facts(task)),
      files(task, said),
      ENDED.includes(task.status) ? output("Standard output", task.stdout) || null : liveOutput("Standard output", live.stdout) || null,
      ENDED.includes(task.status) ? output("Standard error", task.stderr) || null : liveOutput("Standard error", live.stderr) || null);
  };
  const read = async () => {
    readAt = performance.now();
    try { task = await get(`v1/tasks/${id}`, {}, leave.signal); show(); } catch (error) {
      if (error.name !== "AbortError") replace(body, el("p.bad", {}, error.message));
    }
  };
  const hear = (kind, data) => {
    if (kind === "progress") task.progress = data;
    else if (kind in live) live[kind] = (live[kind] + (data.skipped ? `\n… ${bytes(data.skipped)} left out …\n` : "") + data.text).slice(-LIVE_CHARACTERS);
    else if (kind === "attempt") live = { stdout: "", stderr: "" };
    if (kind === "end" || kind === "attempt") read();
    else show();
  };
  /** Goes on where a stream was cut, as by a gateway that restarts. */
  const follow = async () => {
    while (task && !ENDED.includes(task.status) && !leave.signal.aborted) {
      live = { stdout: "", stderr: "" };
      try { await events(`v1/tasks/${id}/output`, hear, leave.signal); } catch { /* It is asked again. */ }
      await read();
      await new Promise(resolve => setTimeout(resolve, 1000));
    }
  };
  read().then(follow);
  const draw = () => {
    if (!task) return;
    if (!ENDED.includes(task.status) && performance.now() - readAt > 1500) read();
    else show();
  };
  return Object.assign(draw, { leave: () => leave.abort() });
}
