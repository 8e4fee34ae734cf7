// Asks the service. A key is asked for once and stays in this tab.

const root = new URL("../", import.meta.url);
const NAME = "belljar-key";

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, body) {
    const detail = body?.detail;
    super(Array.isArray(detail) ? detail.map(one => `${one.loc?.join(".")}: ${one.msg}`).join("; ") : detail ?? `the service answers ${status}`);
    this.status = status;
    this.code = body?.code;
  }
}

let asking, isDeclined = false;

/** Asks for a key, the same question for all who wait; whether one was given. */
export function askKey(why) {
  asking ??= new Promise(resolve => {
    const dialog = document.getElementById("ask"), field = document.getElementById("ask-key");
    document.getElementById("ask-why").textContent = why;
    dialog.addEventListener("close", () => {
      asking = undefined;
      isDeclined = dialog.returnValue !== "ok";
      if (!isDeclined) sessionStorage.setItem(NAME, field.value.trim());
      field.value = "";
      resolve(!isDeclined);
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

function headers(body) {
  const key = sessionStorage.getItem(NAME);
  document.getElementById("key").hidden = !key && !isDeclined;
  return { accept: "application/json", ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
}

async function send(path, options) {
  for (;;) {
    const reply = await fetch(new URL(path, root), { ...options, headers: headers(options.body) });
    if (reply.status !== 401) return reply;
    const refused = new Refused(401, await reply.json().catch(() => null));
    if (isDeclined || !await askKey(refused.message)) throw refused;
    if (options.signal?.aborted) throw new DOMException("left", "AbortError");
  }
}

async function json(reply) {
  const body = await reply.json().catch(() => null);
  if (!reply.ok) throw new Refused(reply.status, body);
  return body;
}

/** The JSON at a path; `query` without what is empty. */
export async function get(path, query = {}, signal) {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== ""));
  return json(await send(given.size ? `${path}?${given}` : path, { signal }));
}

/** What is at a path, as it is. */
export async function content(path) {
  const reply = await send(path, {});
  return reply.ok ? reply.blob() : json(reply);
}

export async function post(path, body) {
  return json(await send(path, { method: "POST", body: JSON.stringify(body ?? {}) }));
}

/** Whether the service takes calls and runs them; else `detail` says why not. */
export async function ready() {
  const reply = await fetch(new URL("readyz", root), { headers: headers() });
  const answer = await reply.json().catch(() => ({}));
  // A gateway that can queue is ready; what it queues may wait.
  const detail = answer.problems?.[0]?.detail;
  return { ...answer, ok: reply.ok && detail === undefined, detail: detail ?? answer.detail };
}

/** Calls `each` for every event of a stream, until it ends or `signal` says so. EventSource sends no key. */
export async function events(path, each, signal) {
  const reply = await send(path, { signal });
  if (!reply.ok) throw new Refused(reply.status, await reply.json().catch(() => null));
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const field = name => part.split("\n").find(line => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field("event")) each(field("event"), JSON.parse(field("data") ?? "null"));
    }
  }
}
