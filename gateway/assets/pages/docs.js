let doc;
const el = (tag, props = {}, ...children) => { const node = Object.assign(document.createElement(tag), props); node.append(...children); return node; };
const deref = thing => thing && thing.$ref ? { name: thing.$ref.split("/").pop(), ...thing.$ref.slice(2).split("/").reduce((at, key) => at[key], doc), ...thing } : thing;
function type(schema) {
  if (!schema) return "";
  if (schema.oneOf) return schema.oneOf.map(type).join(" or ");
  const s = deref(schema);
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.enum) return s.enum.map(word => JSON.stringify(word)).join(" | ");
  if ([].concat(s.type).includes("array")) return `list of ${type(s.items)}`;
  const base = s.name || [].concat(s.type || "any").join(" or ");
  const span = [s.exclusiveMinimum !== undefined ? `> ${s.exclusiveMinimum}` : "", s.minimum !== undefined ? `≥ ${s.minimum}` : "", s.maximum !== undefined ? `≤ ${s.maximum}` : ""].filter(Boolean).join(", ");
  return (s.format || base) + (span ? ` (${span})` : "");
}
const plain = schema => { const s = deref(schema); const some = (s.oneOf || []).find(one => one.type !== "null"); return some ? { ...deref(some), ...(s.description && { description: s.description }) } : s; };
function fields(schema, depth = 0) {
  const s = plain(schema), table = el("table");
  for (const [name, raw] of Object.entries(s.properties || {})) {
    const inner = plain(raw), need = (s.required || []).includes(name);
    const about = el("td", {}, inner.description || "");
    if (inner.default !== undefined) about.append(el("span", { className: "soft" }, ` Default: ${JSON.stringify(inner.default)}.`));
    const below = [].concat(inner.type).includes("array") ? plain(inner.items) : inner;
    if (depth < 2 && below && below.properties) about.append(fields(below, depth + 1));
    table.append(el("tr", {}, el("td", {}, el("code", { className: need ? "need" : "" }, name)), el("td", { className: "type" }, type(raw)), about));
  }
  return table;
}
const known = {};
const key = el("input", { type: "password", placeholder: "bj_...", ariaLabel: "key", autocomplete: "off" });
function remember(reply) {
  if (reply.function_id) known.function_id = reply.function_id;
  if (reply.task_id) known.task_ids = [reply.task_id];
  for (const form of document.querySelectorAll("textarea")) {
    try { form.value = JSON.stringify({ ...JSON.parse(form.value), ...Object.fromEntries(Object.entries(known).filter(([name]) => form.value.includes(`"${name}"`))) }, null, 2); } catch {}
  }
}
function attempt(method, path, op) {
  const form = el("div", { className: "try" }), inputs = {}, out = el("pre", { hidden: true });
  for (const p of op.parameters || []) form.append(inputs[p.name] = el("input", { placeholder: p.name, ariaLabel: p.name }));
  const example = op.requestBody && op.requestBody.content["application/json"].example;
  const text = example && el("textarea", { value: JSON.stringify(example, null, 2), ariaLabel: "body", spellcheck: false });
  if (text) form.append(text);
  form.append(el("button", { type: "button", onclick: async () => {
    let url = path.slice(1) || "./";
    const query = new URLSearchParams();
    for (const p of op.parameters || []) {
      const value = inputs[p.name].value;
      if (p.in === "path") url = url.replace(`{${p.name}}`, encodeURIComponent(value));
      else if (value) query.append(p.name, value);
    }
    out.hidden = false; out.textContent = "…";
    try {
      const reply = await fetch(url + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers: { accept: "application/json", ...(key.value && { authorization: `Bearer ${key.value.trim()}` }), ...(text && { "content-type": "application/json" }) }, body: text ? text.value : undefined });
      let body = await reply.text();
      try { const json = JSON.parse(body); if (reply.ok) remember(json); body = JSON.stringify(json, null, 2); } catch {}
      out.textContent = `${reply.status} ${reply.statusText}\nserver-timing: ${reply.headers.get("server-timing")}\n\n${body.slice(0, 20000)}`;
    } catch (error) { out.textContent = String(error); }
  } }, "Send"));
  return el("div", {}, form, out);
}
function route(path, method, op) {
  const inside = el("div", { className: "inside" });
  if (op.description) inside.append(el("p", {}, op.description));
  if (op.parameters) {
    const table = el("table");
    for (const p of op.parameters) table.append(el("tr", {}, el("td", {}, el("code", { className: p.required ? "need" : "" }, p.name)), el("td", { className: "type" }, `${p.in}, ${type(p.schema)}`), el("td", {}, p.description || "")));
    inside.append(el("h4", {}, "Parameters"), table);
  }
  if (op.requestBody) inside.append(el("h4", {}, "Body"), fields(op.requestBody.content["application/json"].schema));
  inside.append(el("h4", {}, "Answers"));
  const answers = el("table");
  for (const [status, raw] of Object.entries(op.responses)) {
    const r = deref(raw), schema = Object.values(r.content || {})[0]?.schema;
    const about = el("td", {}, r.description);
    if (status < "300" && schema && deref(schema).properties) about.append(fields(schema));
    answers.append(el("tr", {}, el("td", { className: "status" }, status), el("td", { className: "type" }, Object.keys(r.content || {})[0] || ""), about));
  }
  inside.append(answers);
  if (path !== "/v1/events") inside.append(el("h4", {}, "Try it"), attempt(method, path, op));
  return el("details", { id: op.summary.replaceAll(" ", "-") }, el("summary", {}, el("span", { className: `method ${method}` }, method.toUpperCase()), el("span", { className: "path" }, path), el("span", { className: "soft" }, op.summary)), inside);
}
(async () => {
  const routes = document.getElementById("routes");
  try { doc = await (await fetch(new URL("../openapi.json", import.meta.url))).json(); } catch (error) { routes.textContent = `The description cannot be read: ${error}`; return; }
  document.getElementById("about").textContent = doc.info.description;
  routes.replaceChildren(el("p", {}, "Key, where the gateway requires one: ", key));
  for (const tag of doc.tags) {
    routes.append(el("h2", {}, tag.name), el("p", {}, tag.description));
    for (const [path, methods] of Object.entries(doc.paths)) for (const [method, op] of Object.entries(methods)) if (op.tags.includes(tag.name)) routes.append(route(path, method, op));
  }
})();
