// Charts over time, by uPlot, in the colours of the page.
/* global uPlot */

import { color, el, panel, theme } from "./dom.js";
import { HISTORY_S, model } from "./data.js";

const HEIGHT = 150;
/** A chart is never of less time. */
const SHORTEST_S = 60;

/** What of the time charts show: from the first point on. */
function span() {
  const now = Date.now() / 1000;
  return [Math.max(now - HISTORY_S, Math.min(model.points[0]?.t ?? now, now - SHORTEST_S)), now];
}

const isDecade = value => Math.abs(Math.log10(value) % 1) < 1e-9;

/**
 * A chart of points. `lines` are `[label, colour variable, value of a point, options of uPlot]`; `show` writes a value;
 * with `log` the axis is logarithmic.
 */
export function chart(title, lines, show, { log = false } = {}) {
  const place = el("div", { role: "img" }), legend = el("div.legend");
  const values = lines.map(([label, shade]) => {
    const mark = el("i"), value = el("b");
    mark.style.background = `var(--${shade})`;
    legend.append(el("span", {}, mark, `${label} `, value));
    return value;
  });
  const node = panel(title, place, legend);
  let plot, drawnIn, paints = 0, width = 0;
  new ResizeObserver(([entry]) => { width = Math.floor(entry.contentRect.width); }).observe(place);

  const build = () => {
    const axis = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    plot = new uPlot({
      width, height: HEIGHT, padding: [8, 18, 0, 0], cursor: { y: false, drag: { x: false, y: false } }, legend: { show: false },
      scales: { x: { time: true, range: span }, y: log ? { distr: 3 } : { range: (_, low, high) => [0, Math.max(1, (high ?? 0) * 1.1)] } },
      axes: [{ ...axis, values: (_, at) => at.map(t => new Date(t * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })), size: 24, space: 60 },
        { ...axis, size: 62, space: 26, values: (_, at) => at.map(value => value === null ? "" : show(value)), ...(log && { filter: (_, at) => at.map(value => isDecade(value) ? value : null), grid: { ...axis.grid, filter: (_, at) => at.map(value => isDecade(value) ? value : null) } }) }],
      series: [{}, ...lines.map(([label, shade, , options]) => ({ label, stroke: color(shade), width: 1.5, spanGaps: true, points: { show: false }, ...options, ...(options?.fill && { fill: color(shade).replace("rgb(", "rgba(").replace(")", ", .14)") }) }))],
    }, [[], ...lines.map(() => [])], place);
  };

  return {
    node,
    /** Draws what the model holds now. */
    draw() {
      width ||= place.clientWidth;
      if (!width) return;
      if (drawnIn !== theme()) { plot?.destroy(); drawnIn = theme(); build(); }
      if (plot.width !== width) plot.setSize({ width, height: HEIGHT });
      const { points } = model;
      const of = value => points.map(one => { const it = value(one); return it === undefined || (log && !(it > 0)) ? null : it; });
      plot.setData([points.map(one => one.t), ...lines.map(([, , value]) => of(value))]);
      const now = points.at(-1);
      const told = lines.map(([label, , value], at) => {
        const current = now && value(now);
        values[at].textContent = current === undefined || current === null ? "–" : show(current);
        return `${label} ${values[at].textContent}`;
      });
      if (paints++ % 10 === 0) place.setAttribute("aria-label", `${title}, now: ${told.join(", ")}`);
    },
  };
}
