// Where the time of a task went, as a bar.

import { el, ms } from "./dom.js";

const NAMES = { queue: "queue", transport: "transport", instance: "interpreter", decode: "decode", call: "call", encode: "encode" };

/** The phases of a task in order, in milliseconds. What of its run no phase names is transport: to the worker's slot and back. */
export function phases(durations) {
  const { queue, run, instance, decode, call, encode } = durations ?? {};
  const inside = (instance ?? 0) + (decode ?? 0) + (call ?? 0) + (encode ?? 0);
  const transport = run === null || run === undefined ? null : Math.max(0, run - inside);
  return Object.entries({ queue, transport, instance, decode, call, encode }).filter(([, value]) => value > 0);
}

/** A bar of phases: small in a list; with `big` tall and with a legend. The queue is left out of small ones that waited long. */
export function phaseBar(durations, big = false) {
  const parts = phases(durations), total = parts.reduce((sum, [, value]) => sum + value, 0);
  const text = parts.map(([name, value]) => `${NAMES[name]} ${ms(value)}`).join(", ");
  const strip = el(big ? "div.phases.big" : "div.phases", { role: "img", "aria-label": text || "not run", title: text }, parts.map(([name, value]) => {
    const part = el(`i.${name}`);
    // Something that took time is seen.
    part.style.flex = `${Math.max(value / total, big ? .004 : .015)} 0 0`;
    return part;
  }));
  if (!big) return strip;
  const legend = el("div.legend", {}, parts.map(([name, value]) => el("span", {}, el(`i.${name}`), `${NAMES[name]} `, el("b", {}, ms(value)))));
  return el("div", {}, strip, legend);
}
