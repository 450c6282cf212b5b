// The plan: when and where jobs run, over the intensity that is expected and the room there is.

import { html, useLayoutEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { useAsked } from "/page/lib/asked.js";
import { NONE, clock, day, duration, grams, intensity, moment, watts } from "/page/lib/format.js";
import { Empty, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { useStore } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { area, planned, scale, slots, span, steps, ticks } from "/page/lib/timeline.js";

export const title = "Plan";

const MOST_BARS = 40;
const EVERY_S = 15;
const AGAIN_S = 5; // the line of now moves each second, what is drawn of thousands of jobs need not

export function View({ store }) {
  const planning = useStore(store, (all) => all.collector?.planning);
  const connection = useStore(store, (all) => all.connection);
  const { data: plan, error } = useAsked("/api/v1/plan", EVERY_S, planning?.made_s ?? null);
  const [chosen, setChosen] = useState("");
  const [whole, setWhole] = useState(false);
  useStore(store, (all) => all.told_ms); // the line of now moves
  const now_s = store.now() / 1000;
  if (error && !plan) return html`<h1>Plan</h1><${Notice} tone="note">${error} Jobs are planned where the collector's settings have <code>[jobs]</code>.<//>`;
  if (!plan) return html`<h1>Plan</h1><p class="loading" role="status">Loading…</p>`;
  const zones = plan.places.map((place) => place.zone);
  const zone = zones.includes(chosen) ? chosen : busiest(plan) ?? zones[0];
  const place = plan.places.find((one) => one.zone === zone);
  const old = connection.state !== "live" ? "no connection to the collector" : error;
  return html`<h1>Plan</h1>
    <div class="toolbar">
      ${zones.length > 1 ? html`<label class="inline">Zone <select value=${zone} onChange=${(event) => setChosen(event.target.value)}>
        ${zones.map((name) => html`<option key=${name}>${name}</option>`)}</select></label>` : null}
      <div class="switch" role="group" aria-label="How far ahead">
        <button type="button" aria-pressed=${!whole} onClick=${() => setWhole(false)}>As far as jobs reach</button>
        <button type="button" aria-pressed=${whole} onClick=${() => setWhole(true)}>All that is planned ahead</button>
      </div>
      <p class="quiet">${told(plan, now_s)}</p>
    </div>
    ${old ? html`<${Notice} tone="warn">Old: ${old}<//>` : null}
    ${plan.dispatching ? null : html`<${Notice} tone="note">This collector plans and advises; it starts nothing itself.<//>`}
    ${planning?.trouble ? html`<${Notice} tone="warn">${planning.trouble}<//>` : null}
    ${place ? html`<${Timeline} store=${store} plan=${plan} place=${place} whole=${whole} now_s=${now_s} stale=${Boolean(old)} />`
      : html`<${Panel} id="plan-none" title="Timeline"><${Empty}>${plan.notes[0] ?? "No plan has been made yet"}. Submit a job with <code>evenwatt submit</code>.<//><//>`}
    <${Jobs} plan=${plan} now_s=${now_s} />
    ${plan.notes.length && place ? html`<${Panel} id="plan-notes" title="What to know of this plan"><ul class="plain">${plan.notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul><//>` : null}`;
}

function told(plan, now_s) {
  const how = plan.solver ? `, ${plan.solver === "exact" ? "solved exactly" : `by the ${plan.solver} planner`}` : "";
  return `Made ${duration(Math.max(0, now_s - plan.made_s))} ago${how}; slots of ${duration(plan.slot_s)}, ${duration(plan.slots * plan.slot_s)} ahead.`;
}

function busiest(plan) {
  const counts = new Map();
  for (const job of plan.jobs) for (const piece of job.pieces) counts.set(piece.zone, (counts.get(piece.zone) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}

// --- timeline -------------------------------------------------------------------------------------------------------

function Timeline({ store, plan, place, whole, now_s, stale }) {
  const holder = useRef();
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    const look = () => setWidth(Math.max(160, holder.current.clientWidth));
    const watcher = new ResizeObserver(look);
    watcher.observe(holder.current);
    look();
    return () => watcher.disconnect();
  }, []);
  const [from_s, until_s] = span(plan, now_s, whole);
  const time = scale(from_s, until_s, width);
  const past = usePast(place.zone, plan, from_s);
  const zone = useStore(store, (all) => all.zones.get(place.zone));
  const parts = useMemo(() => planned(plan, place.zone, now_s), [plan, place, Math.floor(now_s / AGAIN_S)]);
  const peak_w = Math.max(0, ...parts.map(([, , value]) => value));
  const [open, ended] = useMemo(() => {
    const here = (job) => [...job.pieces, ...job.ran].some((piece) => piece.zone === place.zone && time.inside(piece.start_s, piece.end_s));
    const going = plan.jobs.filter(here).sort((a, b) => first(a) - first(b));
    return [going, plan.ended.filter(here).slice(0, Math.max(4, 14 - going.length)).reverse()];
  }, [plan, place, whole, Math.floor(now_s / AGAIN_S)]);
  const shown = [...ended, ...open].slice(0, MOST_BARS);
  const level = slots(plan, place.intensity_g_per_kwh).find(([from, until]) => from <= now_s && now_s < until)?.[2];
  return html`<${Panel} id="plan-time" title=${`Zone ${place.zone}`} aside=${`Intensity from ${place.source}`}>
    <div class=${`timeline ${stale ? "stale" : ""}`}>
      <div class="lane measure"><span class="lane-name" ref=${null}></span><div class="lane-plot" ref=${holder}></div></div>
      <div class="lane"><span class="lane-name"><b>Intensity</b><span>now ${intensity(level ?? zone?.intensity_g_per_kwh)}</span></span>
        <div class="lane-plot"><${Curve} plan=${plan} place=${place} past=${past} time=${time} now_s=${now_s} /></div></div>
      <div class="lane"><span class="lane-name"><b>Planned work</b><span>${peak_w ? `at most ${watts(peak_w)}` : "none"}</span></span>
        <div class="lane-plot"><${Room} plan=${plan} place=${place} parts=${parts} peak_w=${peak_w} budget_w=${zone?.budget_w ?? null} time=${time} now_s=${now_s} /></div></div>
      <div class="lane axis-lane"><span class="lane-name"></span><div class="lane-plot"><${Axis} time=${time} now_s=${now_s} /></div></div>
      ${shown.map((job) => html`<div key=${job.job} class="lane job"><a class="lane-name" href=${to("work", "job", job.job)}><b>${job.name}</b><span>${inShort(job, now_s)}</span></a>
        <div class="lane-plot"><${Bars} job=${job} place=${place} time=${time} now_s=${now_s} /></div></div>`)}
    </div>
    ${shown.length ? null : html`<${Empty}>No job runs or is planned here in this time.<//>`}
    <ul class="key-list" hidden=${!shown.length}><li><i class="swatch ran"></i>ran</li><li><i class="swatch runs"></i>runs</li><li><i class="swatch planned"></i>planned</li>
      <li><i class="swatch deadline"></i>deadline</li><li><i class="swatch band"></i>90 % range</li><li><i class="swatch budget"></i>budget of the zone</li><li><i class="swatch room"></i>room for planned work</li></ul>
    ${open.length + ended.length > MOST_BARS ? html`<p class="quiet">${open.length + ended.length - MOST_BARS} more stand in the table below.</p>` : null}
  <//>`;
}

const first = (job) => Math.min(...[...job.pieces, ...job.ran].map((piece) => piece.start_s));

function inShort(job, now_s) {
  if (["done", "failed", "cancelled"].includes(job.state)) return job.late ? `${job.state}, late` : job.state;
  const due = job.deadline_s === null ? "" : job.late ? ", late" : `, due in ${duration(Math.max(0, job.deadline_s - now_s))}`;
  return `${job.state}${due}`;
}

/** What the intensity has been, from the time that is shown to the beginning of the plan. */
function usePast(zone, plan, from_s) {
  const start_s = Math.floor(from_s / plan.slot_s) * plan.slot_s;
  const [asked] = useState(() => ({}));
  if (!asked.path || asked.zone !== zone || start_s < asked.from_s - plan.slot_s || plan.start_s > asked.until_s + 2 * plan.slot_s) {
    const moments = [start_s, plan.start_s].map((at_s) => new Date(at_s * 1000).toISOString());
    asked.path = `/emissions/bylocation?location=${encodeURIComponent(zone)}&time=${moments[0]}&toTime=${moments[1]}`;
    Object.assign(asked, { zone, from_s: start_s, until_s: plan.start_s });
  }
  const { data } = useAsked(asked.path);
  return (data ?? []).map((one) => {
    const [hours, minutes, seconds] = one.duration.split(":").map(Number);
    const at_s = Date.parse(one.time) / 1000;
    return [at_s, at_s + hours * 3600 + minutes * 60 + seconds, one.rating];
  });
}

const HIGH = 120;

function Curve({ plan, place, past, time, now_s }) {
  const ahead = slots(plan, place.intensity_g_per_kwh);
  const band = place.low_g_per_kwh.map((low, i) => [ahead[i][0], ahead[i][1], low, place.high_g_per_kwh[i]]).slice(0, place.known_slots);
  const seen = [...past, ...ahead].filter(([from, until]) => time.inside(from, until)).map(([, , value]) => value);
  const most = Math.max(1, ...seen, ...band.filter(([from, until]) => time.inside(from, until)).map(([, , , high]) => high)) * 1.14;
  const y = (value) => HIGH - 2 - (value / most) * (HIGH - 8);
  const values = levels(most);
  const known = [...past.filter(([from]) => from < plan.start_s).map(([from, until, value]) => [from, Math.min(until, plan.start_s), value]), ...ahead.slice(0, place.known_slots)];
  const least = Math.min(...seen);
  const label = seen.length ? `Intensity in ${place.zone}: from ${intensity(least)} to ${intensity(Math.max(...seen))}, ${moment(time.from_s * 1000)} to ${moment(time.until_s * 1000)}.` : "Intensity is not known.";
  return html`<svg class="curve" width=${time.width} height=${HIGH} role="img" aria-label=${label}>
    <${Grid} time=${time} high=${HIGH} values=${values} y=${y} />
    <path class="band" d=${area(band, time, y)} />
    <path class="level" d=${steps(known, time, y)} />
    <path class="level unknown" d=${steps(ahead.slice(place.known_slots), time, y)} />
    <${Now} time=${time} now_s=${now_s} high=${HIGH} />
    ${values.map((value) => html`<text key=${value} class="label" x="2" y=${y(value) - 4}>${intensity(value)}</text>`)}
  </svg>`;
}

const ROOM = 96;
const APART = 13; // of two labels, in pixels

/** Watts that are planned, below what planned work may take, below the budget: between the two is what else may draw. */
function Room({ plan, place, parts, peak_w, budget_w, time, now_s }) {
  const free = place.power_free_w ? slots(plan, place.power_free_w).filter(([, until]) => until > now_s) : [];
  const shown = [...parts, ...free].filter(([from, until]) => time.inside(from, until)).map(([, , value]) => value);
  const most = Math.max(100, budget_w ?? 0, ...shown) * 1.18;
  const y = (value) => ROOM - 2 - (value / most) * (ROOM - 8);
  const room = free.length ? Math.min(...free.map(([, , value]) => value)) : null;
  const label = `Planned work in ${place.zone}: at most ${watts(peak_w)}${room === null ? "" : ` of at least ${watts(room)} that it may take`}${budget_w === null ? "" : `, of a budget of ${watts(budget_w)}`}.`;
  const budget_y = budget_w === null ? null : y(budget_w);
  const room_y = free.length ? y(free[0][2]) : null;
  const below = budget_y !== null && room_y !== null && room_y - budget_y < APART;
  return html`<svg class="room" width=${time.width} height=${ROOM} role="img" aria-label=${label}>
    <${Grid} time=${time} high=${ROOM} />
    <path class="watts" d=${area(parts.map(([from, until, value]) => [from, until, 0, value]), time, y)} />
    <path class="free" d=${steps(free, time, y)} />
    ${budget_y === null ? null : html`<line class="budget" x1="0" x2=${time.width} y1=${budget_y} y2=${budget_y} />`}
    <${Now} time=${time} now_s=${now_s} high=${ROOM} />
    ${budget_y === null ? null : html`<text class="label" x=${time.width - 4} y=${budget_y - 4} text-anchor="end">budget ${watts(budget_w)}</text>`}
    ${room_y === null ? null : html`<text class="label" x=${time.width - 4} y=${below ? Math.max(room_y, budget_y) + 12 : room_y - 4} text-anchor="end">room ${watts(free[0][2])}</text>`}
  </svg>`;
}

/** Return two round values for lines across a chart that reaches to `most`. */
function levels(most) {
  const step = 10 ** Math.floor(Math.log10(most / 2));
  const size = [5, 2, 1].find((factor) => 2 * factor * step <= most * 0.95) * step;
  return [size, 2 * size];
}

function Grid({ time, high, values = [], y }) {
  return html`<g class="gridlines">${ticks(time).at.map((at_s) => html`<line key=${at_s} x1=${time.x(at_s)} x2=${time.x(at_s)} y1="0" y2=${high} />`)}
    <line x1="0" x2=${time.width} y1=${high - 2} y2=${high - 2} />
    ${values.map((value) => html`<line key=${value} x1="0" x2=${time.width} y1=${y(value)} y2=${y(value)} />`)}</g>`;
}

function Now({ time, now_s, high }) {
  return html`<line class="now" x1=${time.x(now_s)} x2=${time.x(now_s)} y1="0" y2=${high} />`;
}

const TICK = 58;

function Axis({ time, now_s }) {
  const { step_s, at } = ticks(time);
  const now = time.x(now_s);
  return html`<svg class="axis" width=${time.width} height="20" aria-hidden="true">
    ${at.filter((at_s) => (time.x(at_s) + TICK < now - 14 || time.x(at_s) > now + 18) && time.x(at_s) < time.width - TICK).map((at_s) => html`<text key=${at_s} x=${time.x(at_s) + 3} y="14">${tick(at_s, step_s)}</text>`)}
    <text class="now-text" x=${Math.min(time.width - 26, Math.max(0, now - 12))} y="14">now</text>
  </svg>`;
}

function tick(at_s, step_s) {
  const text = clock(at_s * 1000, step_s < 60);
  return step_s >= 3600 && text.startsWith("00:00") ? day(at_s * 1000) : text;
}

const ROW = 26;

function Bars({ job, place, time, now_s }) {
  const done = ["done", "failed", "cancelled"].includes(job.state);
  const bar = (piece, name, text) => {
    if (!time.inside(piece.start_s, piece.end_s)) return null;
    const left = time.x(piece.start_s);
    const wide = Math.max(2, time.x(piece.end_s) - left);
    const elsewhere = piece.zone !== place.zone;
    return html`<rect class=${`${name} ${elsewhere ? "elsewhere" : ""}`} x=${left} y="6" width=${wide} height=${ROW - 12} rx="2"><title>${`${job.name} ${text}${elsewhere ? ` in ${piece.zone}` : ""}: ${clock(piece.start_s * 1000)} to ${clock(piece.end_s * 1000)}`}</title></rect>`;
  };
  const running = job.state === "running" || job.state === "stopping" || job.state === "starting";
  const parts = job.pieces.flatMap((piece) => {
    if (!running && piece.end_s <= now_s) return [];
    if (!running || piece.start_s > now_s) return [bar({ ...piece, start_s: Math.max(now_s, piece.start_s) }, "planned", "is planned")];
    return [bar({ ...piece, end_s: Math.min(now_s, piece.end_s) }, "runs", "runs"), piece.end_s > now_s ? bar({ ...piece, start_s: now_s }, "planned", "goes on") : null];
  });
  const due = job.deadline_s;
  const marked = due !== null && due >= time.from_s && due <= time.until_s;
  return html`<svg width=${time.width} height=${ROW} aria-hidden="true">
    <line class="base" x1="0" x2=${time.width} y1=${ROW - 1} y2=${ROW - 1} />
    ${job.ran.map((piece) => bar(piece, done && job.state !== "done" ? "ran failed" : "ran", "ran"))}
    ${parts}
    ${marked ? html`<path class=${`due ${job.late ? "late" : ""}`} d=${`M${time.x(due)} 3V${ROW - 3}M${time.x(due) - 4} 3H${time.x(due)}`}><title>${`deadline of ${job.name}: ${clock(due * 1000)}`}</title></path>` : null}
    <${Now} time=${time} now_s=${now_s} high=${ROW} />
  </svg>`;
}

// --- table ----------------------------------------------------------------------------------------------------------

const STATES = { running: "good", starting: "good", stopping: "warn", waiting: "note", done: "off", failed: "bad", cancelled: "off" };

function Jobs({ plan, now_s }) {
  const columns = [
    { key: "name", title: "Job", value: (job) => job.name },
    { key: "state", title: "State", value: (job) => job.state, cell: (job) => html`<${State} tone=${job.late ? "bad" : STATES[job.state]}>${job.late ? `${job.state}, late` : job.state}<//>` },
    { key: "start", title: "Starts", value: (job) => next(job, now_s)?.start_s ?? null, cell: (job) => when(next(job, now_s)?.start_s, now_s) },
    { key: "end", title: "Ends", minor: true, value: (job) => job.pieces.at(-1)?.end_s ?? null, cell: (job) => when(job.pieces.at(-1)?.end_s, now_s) },
    { key: "pieces", title: "Pieces", number: true, minor: true, value: (job) => job.pieces.filter((piece) => piece.end_s > now_s).length || null, cell: (job) => job.pieces.filter((piece) => piece.end_s > now_s).length || NONE },
    { key: "where", title: "Where", minor: true, value: (job) => job.pieces[0]?.zone ?? "" },
    { key: "deadline", title: "Deadline", minor: true, value: (job) => job.deadline_s, cell: (job) => when(job.deadline_s, now_s) },
    { key: "power", title: "Adds", number: true, minor: true, value: (job) => job.power_w, cell: (job) => (job.pieces.length ? watts(job.power_w) : NONE) },
    { key: "grams", title: "CO₂e left", number: true, value: (job) => job.grams, cell: (job) => (job.pieces.length ? grams(job.grams) : NONE) },
    { key: "range", title: "90 % range", number: true, minor: true, value: (job) => job.high_g, cell: (job) => (job.high_g > 0 ? `${grams(job.low_g)} to ${grams(job.high_g)}` : NONE) },
  ];
  const late = plan.jobs.filter((job) => job.late).length;
  const left_g = plan.jobs.reduce((sum, job) => sum + job.grams, 0);
  return html`<${Panel} id="plan-jobs" title="Open jobs" aside=${`${plan.jobs.length} open, ${late} late, ${grams(left_g)} left to emit`}>
    <${Table} caption="Open jobs in the plan" columns=${columns} rows=${plan.jobs} keyOf=${(job) => job.job} sort=${{ key: "start", down: false }}
      href=${(job) => to("work", "job", job.job)} empty="No job is open." />
  <//>`;
}

const next = (job, now_s) => job.pieces.find((piece) => piece.end_s > now_s) ?? job.pieces[0];

function when(wall_s, now_s) {
  if (wall_s === null || wall_s === undefined) return NONE;
  const far = Math.abs(wall_s - now_s) > 43_200;
  return html`<time datetime=${new Date(wall_s * 1000).toISOString()}>${far ? moment(wall_s * 1000) : clock(wall_s * 1000)}</time>`;
}
