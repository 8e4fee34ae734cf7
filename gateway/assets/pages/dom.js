// Building nodes and showing values. Text is always set as text: what functions wrote is not trusted.

/** A node: `el("td.num", { title }, child...)`. */
export function el(kind, props = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const node = document.createElement(tag);
  node.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(child => child !== undefined && child !== null && child !== false));
  return node;
}

/** A panel with a title. */
export const panel = (title, ...children) => el("section.panel", { "aria-label": title }, el("h2", {}, title), ...children);

/** A link to a page of the dashboard. */
export const link = (path, text, props = {}) => el("a", { href: `#/${path}`, ...props }, text);

export const number = value => value === undefined || value === null ? "–" : value.toLocaleString("en");

/** A rate in a second. */
export const rate = value => value === null || value === undefined ? "–" : value >= 10 ? Math.round(value).toLocaleString("en") : value === 0 ? "0" : value.toFixed(1);

/** A time that something took, from milliseconds. */
export function ms(value) {
  if (value === undefined || value === null) return "–";
  if (value === 0) return "0 ms";
  if (value < 0.995) return `${value.toFixed(2)} ms`;
  if (value < 99.5) return `${value.toPrecision(3).replace(/\.?0+$/, "")} ms`;
  if (value < 995) return `${Math.round(value)} ms`;
  if (value < 60_000) return `${(value / 1000).toPrecision(3).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "")} s`;
  if (value < 3_600_000) return `${Math.floor(value / 60_000)} min ${Math.round(value % 60_000 / 1000)} s`;
  return `${(value / 3_600_000).toFixed(1)} h`;
}

export function bytes(value) {
  if (value === undefined || value === null) return "–";
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB"];
  let at = -1;
  do { value /= 1024; at++; } while (value >= 1024 && at < 2);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export const percent = value => value === null || value === undefined || Number.isNaN(value) ? "–" : value === 0 ? "0 %" : value < .001 ? "< 0.1 %" : `${(100 * value).toFixed(value < .1 ? 1 : 0)} %`;

/** A time of day, with the date where it is not today. */
export function clock(text) {
  if (!text) return "–";
  const time = new Date(text), today = new Date().toDateString() === time.toDateString();
  const of = time.toLocaleTimeString("en-GB") + "." + String(time.getMilliseconds()).padStart(3, "0");
  return today ? of : `${time.toISOString().slice(0, 10)} ${of}`;
}

export const short = id => id ? id.slice(0, 8) : "–";

/** The value at a share of sorted numbers. */
export const quantile = (sorted, share) => sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;

export const sorted = values => Float64Array.from(values.filter(value => value !== undefined && value !== null)).sort();

/** A bar that is full at 1. */
export function bar(share, title) {
  const fill = el("i");
  fill.style.width = `${100 * Math.min(1, share || 0)}%`;
  return el("span.bar", { title, role: "img", "aria-label": title }, fill);
}

/** A table of rows, which may be sorted by its columns: `[title, cell, { num, value }]`. `sort` holds the column and direction. */
export function table(columns, rows, { sort, again, empty = "nothing yet", label } = {}) {
  if (sort) {
    const value = columns[sort.by][2].value;
    rows = [...rows].sort((a, b) => {
      const [x, y] = [value(a) ?? -Infinity, value(b) ?? -Infinity];
      return (x < y ? -1 : x > y ? 1 : 0) * (sort.down ? -1 : 1);
    });
  }
  const head = columns.map(([title, , options = {}], by) => {
    if (!sort || !options.value) return el(options.num ? "th.num" : "th", { scope: "col" }, title);
    const turn = () => { sort.down = sort.by === by ? !sort.down : true; sort.by = by; again(by); };
    const state = sort.by !== by ? "none" : sort.down ? "descending" : "ascending";
    return el(options.num ? "th.num" : "th", { scope: "col", "aria-sort": state }, el("button", { type: "button", onclick: turn }, title));
  });
  const body = rows.map(row => el("tr", {}, columns.map(([, cell, options = {}]) => {
    const shown = cell(row);
    return el(options.num ? "td.num" : options.wide ? "td.wide" : "td", {}, shown instanceof Node ? shown : String(shown ?? "–"));
  })));
  const all = el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
  return el("div.scroll", {}, all, rows.length ? "" : el("p.empty", {}, empty));
}

/** Makes a node like another one, and changes no more than differs: what is the same costs no layout. */
function patch(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.tagName !== fresh.tagName) { old.replaceWith(fresh); return; }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    // The policy of the page takes styles from scripts, and none as attributes.
    if (name === "style") old.style.cssText = fresh.style.cssText;
    else if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  patchChildren(old, [...fresh.childNodes]);
}

function patchChildren(node, fresh) {
  const old = [...node.childNodes];
  fresh.forEach((child, at) => { if (old[at]) patch(old[at], child); else node.append(child); });
  old.slice(fresh.length).forEach(child => child.remove());
}

/** Makes a node hold these, and keeps the focus on the same link or button. Listeners of what is there already stay. */
export function replace(node, ...children) {
  const active = document.activeElement, isHeld = node.contains(active) && active !== node;
  const mark = it => `${it.tagName} ${it.getAttribute("href")} ${it.textContent}`, held = isHeld && mark(active);
  patchChildren(node, children.filter(Boolean).map(child => child instanceof Node ? child : document.createTextNode(child)));
  if (isHeld && (!active.isConnected || mark(active) !== held)) {
    [...node.querySelectorAll("a, button")].find(it => mark(it) === held)?.focus({ preventScroll: true });
  }
}

/** Names what the colours of the page depend on. */
export const theme = () => document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const probe = document.createElement("span"), colors = new Map();

/** The colour of a variable, for canvases. */
export function color(name) {
  const key = `${theme()} ${name}`;
  if (!colors.has(key)) {
    if (!probe.isConnected) { probe.hidden = true; document.body.append(probe); }
    probe.style.color = `var(--${name})`;
    colors.set(key, getComputedStyle(probe).color);
  }
  return colors.get(key);
}
