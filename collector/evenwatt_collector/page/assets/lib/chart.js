// Lines over time, drawn by uPlot. Whoever cannot see them gets the same in a sentence per line.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import uPlot from "/page/vendor/uplot.js";
import { NONE, clock, day, moment } from "/page/lib/format.js";

const DAY_S = 86_400;
const SAID_MS = 10_000; // what is read out need not change each second

/**
 * @param title What is drawn; read out.
 * @param x Moments in Unix seconds, ascending.
 * @param series [{label, values, colour, width?, dash?, fill?, stepped?, format?}]; `colour` names a custom property of the
 *     style sheet without its dashes ("power", "budget", "caps", "carbon", "good", "quiet", ...). Unknown values are null.
 * @param bands [{upper, lower, colour}]: indices into `series` between which is filled.
 * @param marks [{at_s, label, colour?, dash?}]: upright lines.
 * @param format Value => text with its unit, for the axis and the legend.
 * @param height In pixels.
 * @param from_zero Whether the axis begins at zero.
 * @param range [from_s, until_s] of the axis of time; all of `x` without.
 * @param rest_s Of which moment the legend tells when nobody points at one; the latest that is known without.
 */
export function Chart({ title, x, series, bands = [], marks = [], format = String, height = 180, from_zero = true, range, rest_s }) {
  const holder = useRef();
  const plot = useRef();
  const latest = useRef();
  const [at, setAt] = useState(null);
  latest.current = { marks, format, range, setAt, series, from_zero };
  const shape = JSON.stringify([height, series.map(({ label, colour, width, dash, fill, stepped }) => [label, colour, width, dash, fill, stepped]), bands]);

  useLayoutEffect(() => {
    const element = holder.current;
    const made = new uPlot(options(element.clientWidth, height, series, bands, latest), data(x, series), element);
    plot.current = made;
    const resized = new ResizeObserver(() => {
      if (element.clientWidth !== made.width && element.clientWidth > 0) made.setSize({ width: element.clientWidth, height });
    });
    resized.observe(element);
    const themed = new MutationObserver(() => made.redraw(false));
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => made.redraw(false);
    scheme.addEventListener("change", redraw);
    return () => {
      scheme.removeEventListener("change", redraw);
      themed.disconnect();
      resized.disconnect();
      made.destroy();
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(data(x, series)), [x, ...series.map((one) => one.values), range?.[0], range?.[1]]);
  useEffect(() => plot.current?.redraw(false), [JSON.stringify(marks)]);

  const said = useMemo(() => summary(x, series, marks, format), [shape, x.length > 0, Math.floor(Date.now() / SAID_MS)]);
  const index = at !== null && at < x.length ? at : lastKnown(x, series, rest_s);
  return html`<figure class="chart">
    <div class="legend" aria-hidden="true">
      <span class="at">${x.length && index >= 0 ? label(x, index) : ""}</span>
      ${series.map((one) => (one.label ? html`<span key=${one.label} class="key"><i class=${`line ${one.dash ? "dashed" : ""}`} style=${{ borderTopColor: `var(--${one.colour})` }}></i>${one.label}
        <b>${show(one, index, format)}</b></span>` : null))}
    </div>
    <div class="plot" ref=${holder} style=${{ height: `${height}px` }} role="img" aria-label=${`${title}: ${said}`}></div>
  </figure>`;
}

/** A small line without axes for a table or a row of facts; it says nothing that stands not beside it in words. */
export function Spark({ values, width = 120, height = 24, most }) {
  const known = values.filter((value) => Number.isFinite(value));
  if (known.length < 2) return html`<svg class="spark" width=${width} height=${height} aria-hidden="true"></svg>`;
  const top = Math.max(most ?? 0, ...known) || 1;
  const step = width / (values.length - 1);
  let path = "";
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    path += `${path && Number.isFinite(values[i - 1]) ? "L" : "M"}${(i * step).toFixed(1)} ${(height - 1 - (value / top) * (height - 2)).toFixed(1)}`;
  });
  return html`<svg class="spark" width=${width} height=${height} aria-hidden="true"><path d=${path} /></svg>`;
}

const data = (x, series) => [x, ...series.map((one) => one.values)];

/** Return a colour of the style sheet as it is now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || "#808080";
}

function options(width, height, series, bands, latest) {
  return {
    width: Math.max(width, 100),
    height,
    legend: { show: false },
    padding: [8, 18, 0, 0], // half of the last label stands beyond the plot
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true, range: (_plot, from, until) => latest.current.range ?? [from ?? 0, until ?? 1] },
      y: { range: (_plot, from, until) => spread(from, until, latest.current.from_zero) },
    },
    axes: [
      { ...axis(), size: 24, space: 70, values: (_plot, splits, _axis, _space, step_s) => splits.map((at_s) => tick(at_s, step_s)) },
      { ...axis(), size: (_plot, labels) => 16 + 7 * Math.max(...(labels ?? []).map((text) => text.length), 4), space: 34, values: (_plot, splits) => splits.map((value) => latest.current.format(value)) },
    ],
    series: [{}, ...series.map((one) => line(one))],
    bands: bands.map((band) => ({ series: [band.upper + 1, band.lower + 1], fill: () => faint(colour(band.colour)) })),
    hooks: {
      draw: [(plot) => latest.current.marks.forEach((mark) => upright(plot, mark))],
      setCursor: [(plot) => latest.current.setAt(plot.cursor.left >= 0 ? plot.cursor.idx : null)],
    },
  };
}

const axis = () => ({
  stroke: () => colour("quiet"),
  font: '11px ui-monospace, "Cascadia Mono", Menlo, monospace',
  grid: { stroke: () => colour("rule"), width: 1 },
  ticks: { show: false },
  gap: 6,
});

function line({ colour: name, width = 1.5, dash, fill = false, stepped = false }) {
  return {
    stroke: () => colour(name),
    fill: fill ? () => faint(colour(name)) : undefined,
    width,
    dash,
    paths: stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    points: { show: false },
    spanGaps: false,
  };
}

/** The same colour, hardly there; the style sheet has all colours as #rrggbb. */
const faint = (hex) => `${hex}26`;

function spread(from, until, from_zero) {
  if (from === null || from === undefined || !Number.isFinite(from)) return [0, 1];
  if (from_zero) return [0, Math.max(until * 1.08, 1e-6)];
  const room = Math.max((until - from) * 0.1, Math.abs(until) * 0.02, 1e-6);
  return [Math.max(from >= 0 ? 0 : -Infinity, from - room), until + room];
}

function tick(at_s, step_s) {
  const at_ms = at_s * 1000;
  const midnight = clock(at_ms, false) === "00:00";
  if (step_s >= DAY_S || (step_s >= 3600 && midnight)) return day(at_ms);
  return clock(at_ms, step_s < 60);
}

function upright(plot, { at_s, label: text, colour: name = "ink", dash = [4, 4] }) {
  const left = plot.valToPos(at_s, "x", true);
  const { left: from, width, top, height } = plot.bbox;
  if (left < from || left > from + width) return;
  const pen = plot.ctx;
  const dots = devicePixelRatio;
  pen.save();
  pen.strokeStyle = pen.fillStyle = colour(name);
  pen.lineWidth = dots;
  pen.setLineDash(dash.map((length) => length * dots));
  pen.beginPath();
  pen.moveTo(left, top);
  pen.lineTo(left, top + height);
  pen.stroke();
  pen.font = `${11 * dots}px system-ui, sans-serif`;
  const right = left + pen.measureText(text).width + 6 * dots > from + width;
  pen.textAlign = right ? "right" : "left";
  pen.fillText(text, left + (right ? -4 : 4) * dots, top + 11 * dots);
  pen.restore();
}

function lastKnown(x, series, until_s = Infinity) {
  for (let i = x.length - 1; i >= 0; i--) if (x[i] <= until_s && series.some((one) => Number.isFinite(one.values[i]))) return i;
  return -1;
}

function label(x, index) {
  return x.at(-1) - x[0] > DAY_S ? moment(x[index] * 1000) : clock(x[index] * 1000);
}

function show(one, index, format) {
  const value = one.values[index];
  return Number.isFinite(value) ? (one.format ?? format)(value) : NONE;
}

function summary(x, series, marks, format) {
  if (!x.length) return "nothing to draw yet.";
  const told = series.filter((one) => one.label).map((one) => {
    const known = one.values.filter((value) => Number.isFinite(value));
    if (!known.length) return `${one.label} not known`;
    const text = one.format ?? format;
    const least = known.reduce((a, b) => Math.min(a, b));
    const most = known.reduce((a, b) => Math.max(a, b));
    return `${one.label} last ${text(known.at(-1))}, from ${text(least)} to ${text(most)}`;
  });
  const marked = marks.map((mark) => `${mark.label} at ${moment(mark.at_s * 1000)}`);
  return `${[...told, ...marked].join("; ")}; from ${moment(x[0] * 1000)} to ${moment(x.at(-1) * 1000)}.`;
}
