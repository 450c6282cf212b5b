// What work takes: workloads, services, jobs and tasks, with joules and grams per unit.

import { html, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { amountOf, gramsPer, joulesPer, mainUnit, singular, useAsked } from "/page/lib/asked.js";
import { Chart } from "/page/lib/chart.js";
import { JobReason } from "/page/lib/explanation.js";
import { NONE, clock, count, duration, energy, grams, gramsPerHour, many, moment, percent, watts } from "/page/lib/format.js";
import { Facts, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { fleetStale, same, useStore } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { outermost } from "/page/lib/words.js";

export const title = "Work";

const PERIODS = { hour: ["last hour", 3600], day: ["last 24 hours", 86_400], week: ["last 7 days", 604_800] };
const ASK_EVERY_S = 60;
const STEP_S = 300;
const TOLD_LIVE = 50; // the status document has so many jobs
const LEAST_POINTS = 3; // fewer are no line
const RANK = { running: 0, starting: 0, stopping: 0, waiting: 1, failed: 2, done: 3, cancelled: 4 };
const STATES = { running: "good", starting: "good", stopping: "warn", waiting: "note", done: "off", failed: "bad", cancelled: "off" };

export function View({ store, params }) {
  if (params[0] === "job" && params[1]) return html`<${Job} store=${store} id=${params[1]} key=${params[1]} />`;
  if (params[0]) return html`<${Workload} store=${store} name=${params[0]} key=${params[0]} />`;
  return html`<${All} store=${store} />`;
}

// --- all ------------------------------------------------------------------------------------------------------------

function All({ store }) {
  const [period, setPeriod] = useState("day");
  return html`<h1>Work</h1>
    <${Now} store=${store} />
    <${AllJobs} store=${store} />
    <${Workloads} store=${store} period=${period} setPeriod=${setPeriod} />
    <${Services} store=${store} />
    <${Tasks} period=${period} />`;
}

function Now({ store }) {
  const workloads = useStore(store, (all) => all.workloads);
  const jobs = useJobs(store);
  const planning = useStore(store, (all) => all.collector?.planning);
  const stale = useStore(store, (all) => fleetStale(outermost(all.zones), all.connection));
  const sum = (name) => [...workloads.values()].reduce((total, row) => total + row[name], 0);
  const by = planning?.by_state ?? {};
  const late = planning?.late ?? jobs.filter((job) => job.late).length;
  return html`<dl class="figures">
    <${Figure} name="Power of work now" value=${watts(sum("power_w"))} note=${`${many(workloads.size, "workload")} seen`} stale=${stale} />
    <${Figure} name="It emits" value=${gramsPerHour(sum("emissions_g_per_h"))} note="CO₂e, as the grid is now" stale=${stale} />
    <${Figure} name="Jobs running" value=${count((by.running ?? 0) + (by.starting ?? 0) + (by.stopping ?? 0))} note=${by.waiting === 1 ? "1 waits for its time" : `${count(by.waiting ?? 0)} wait for their time`} stale=${stale} />
    <${Figure} name="Late" value=${count(late)} tone=${late ? "bad" : ""} note=${late ? "will miss their deadline, or have" : jobs.length ? "every open job keeps its deadline" : "no job was submitted"} stale=${stale} />
  </dl>`;
}

function useJobs(store, wanted = () => true) {
  return useStore(store, (all) => [...all.jobs.values()].filter(wanted), (a, b) => same(a, b));
}

/** The jobs that are told live, and older ones when they are asked for. */
function AllJobs({ store }) {
  const live = useJobs(store);
  const [older, setOlder] = useState({ rows: [], cursor: "", error: "" });
  const known = new Set(live.map((job) => job.id));
  const more = async () => {
    try {
      const found = await getJson(`/api/v1/jobs?limit=200${older.cursor ? `&cursor=${encodeURIComponent(older.cursor)}` : ""}`);
      setOlder({ rows: [...older.rows, ...found.jobs.map(rowOf)], cursor: found.cursor, error: "" });
    } catch (error) {
      setOlder({ ...older, error: error.message });
    }
  };
  return html`<${Jobs} store=${store} rows=${[...live, ...older.rows.filter((job) => !known.has(job.id))]} id="work-jobs" title="Jobs">
    ${older.error ? html`<${Notice} tone="warn">${older.error}<//>` : null}
    ${live.length >= TOLD_LIVE && older.cursor !== null ? html`<p class="after"><button type="button" onClick=${more}>Show older jobs</button></p>` : null}
  <//>`;
}

/** A job as it is kept, as a row like those that are told live. */
function rowOf(job) {
  const sum = (name) => job.runs.reduce((total, run) => total + run[name], 0);
  const run = job.runs.at(-1);
  return {
    id: job.id, name: job.spec.name, workload: job.spec.workload || job.spec.name, model: job.spec.model, service: Boolean(job.spec.service),
    state: job.state, zone: run?.zone ?? job.pieces[0]?.zone ?? "", node: job.ended_s === null ? (run?.node ?? "") : "",
    done: job.state === "done" ? 1 : job.length_s > 0 ? Math.min(1, job.done_s / job.length_s) : 0, start_s: job.pieces[0]?.start_s ?? null,
    end_s: job.ended_s ?? job.pieces.at(-1)?.end_s ?? null, deadline_s: job.deadline_s, late: job.late, energy_j: sum("energy_j"),
    emissions_g: sum("grams"), expected_g: job.decision?.chosen.grams ?? sum("grams"), units: units(job), why: job.why,
  };
}

function useReport(period, query) {
  // The beginning moves in steps, so that the same is not asked each second with another beginning.
  const from_s = Math.floor((Date.now() / 1000 - PERIODS[period][1]) / STEP_S) * STEP_S;
  return useAsked(`/api/v1/report?${query}&from=${from_s}`, ASK_EVERY_S, null, `${period} ${query}`);
}

function Workloads({ store, period, setPeriod }) {
  const live = useStore(store, (all) => all.workloads);
  const { data, error } = useReport(period, "by=workload");
  const told = new Map((data?.rows ?? []).filter((row) => !row.residual).map((row) => [row.name, row.figures]));
  const names = [...new Set([...live.keys(), ...told.keys()])];
  const rows = names.map((name) => ({ name, now: live.get(name), figures: told.get(name), unit: mainUnit(told.get(name)?.units) }));
  const rest = (data?.rows ?? []).filter((row) => row.residual);
  const columns = [
    { key: "name", title: "Workload", value: (row) => row.name },
    { key: "power", title: "Now", number: true, minor: true, value: (row) => row.now?.power_w ?? null, cell: (row) => watts(row.now?.power_w) },
    { key: "rate", title: "Emits now", number: true, minor: true, value: (row) => row.now?.emissions_g_per_h ?? null, cell: (row) => gramsPerHour(row.now?.emissions_g_per_h) },
    { key: "nodes", title: "Nodes", number: true, minor: true, value: (row) => row.now?.nodes ?? null, cell: (row) => count(row.now?.nodes) },
    { key: "energy", title: "Energy", number: true, minor: true, value: (row) => row.figures?.energy_j ?? null, cell: (row) => energy(row.figures?.energy_j) },
    { key: "grams", title: "CO₂e", number: true, value: (row) => row.figures?.location_g ?? null, cell: (row) => grams(row.figures?.location_g) },
    { key: "done", title: "Done", number: true, minor: true, value: (row) => row.unit?.[1] ?? null, cell: (row) => (row.unit ? amountOf(row.unit[1], row.unit[0]) : NONE) },
    { key: "joules", title: "Energy per unit", number: true, minor: true, value: (row) => per(row.figures?.energy_j, row.unit), cell: (row) => (row.unit ? joulesPer(row.figures.energy_j, row.unit[1], row.unit[0]) : NONE) },
    { key: "per", title: "CO₂e per unit", number: true, value: (row) => per(row.figures?.location_g, row.unit), cell: (row) => (row.unit ? gramsPer(row.figures.location_g, row.unit[1], row.unit[0]) : NONE) },
  ];
  return html`<${Panel} id="work-loads" title="Workloads" aside=${html`<${Period} period=${period} setPeriod=${setPeriod} />`}>
    ${error ? html`<${Notice} tone="warn">${error}<//>` : null}
    <${Table} key=${`${period} ${Boolean(data)}`} caption=${`Workloads, ${PERIODS[period][0]}`} columns=${columns} rows=${rows} keyOf=${(row) => row.name} sort=${{ key: "grams", down: true }}
      href=${(row) => to("work", row.name)} empty=${data ? "No work was seen in this time. Start some with `evenwatt run` or `evenwatt submit`." : "Loading…"} />
    ${rest.length ? html`<p class="quiet after">Nobody's in this time: ${rest.map((row) => `${row.name.replace(/[()]/g, "")} ${energy(row.figures.energy_j)} (${grams(row.figures.location_g)})`).join(", ")}.</p>` : null}
    <${Caveats} notes=${data?.notes} />
  <//>`;
}

const per = (value, unit) => (unit && Number.isFinite(value) ? value / unit[1] : null);

function Caveats({ notes }) {
  if (!notes?.length) return null;
  return html`<details class="notes"><summary>What to know of these figures (${notes.length})</summary><ul class="plain">${notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul></details>`;
}

function Period({ period, setPeriod }) {
  return html`<div class="switch small" role="group" aria-label="Period">${Object.entries(PERIODS).map(([name, [words]]) => html`<button key=${name} type="button"
    aria-pressed=${period === name} onClick=${() => setPeriod(name)}>${words}</button>`)}</div>`;
}

function Services({ store }) {
  const services = useStore(store, (all) => all.collector?.services);
  const jobs = useJobs(store, (job) => job.service);
  if (!jobs.length) return null;
  const rows = jobs.map((job) => ({ ...job, runs: services?.find((one) => one.service === job.name || one.service.endsWith(job.name)) }));
  return html`<${Panel} id="work-services" title="Services" aside="which variant of its model each should run now">
    <ul class="list services">${rows.map((job) => html`<li key=${job.id}>
      <p><a href=${to("work", "job", job.id)}><b>${job.name}</b></a> ${job.runs
        ? html`runs <b>${job.runs.variant}</b> on <a href=${to("node", job.runs.zone, job.runs.node)}>${job.runs.node || job.runs.zone}</a>, ${grams(job.runs.g_per_unit)} per ${job.runs.unit}, since ${when(job.runs.since_wall_ms / 1000)}`
        : html`<${State} tone="warn">runs nothing yet<//>`}</p>
      <p class="quiet">${job.runs?.why ?? job.why}</p></li>`)}</ul>
  <//>`;
}

function Tasks({ period }) {
  const [shown, setShown] = useState(false);
  return html`<${Panel} id="work-tasks" title="Tasks" aside=${html`<button type="button" class="push" aria-expanded=${shown} onClick=${() => setShown(!shown)}>${shown ? "Hide" : "Show"}</button>`}>
    <p class="quiet after">Each run that counted as a task on its node: by <code>evenwatt run</code>, a job, or a group with a label.</p>
    ${shown ? html`<${TaskTable} period=${period} />` : null}
  <//>`;
}

function TaskTable({ period, workload = "" }) {
  const { data, error } = useReport(period, `by=task${workload ? `&workload=${encodeURIComponent(workload)}` : ""}`);
  if (error) return html`<${Notice} tone="warn">${error}<//>`;
  if (!data) return html`<p class="loading" role="status">Loading…</p>`;
  const rows = data.rows.filter((row) => !row.residual).map((row) => ({ ...row, unit: mainUnit(row.figures.units) }));
  const columns = [
    { key: "name", title: "Task", value: (row) => row.name },
    { key: "node", title: "Node", value: (row) => row.node, cell: (row) => (row.node ? html`<a href=${to("node", row.zone, row.node)}>${row.node}</a>` : NONE) },
    { key: "took", title: "Ran", number: true, minor: true, value: (row) => row.figures.duration_s || null, cell: (row) => (row.figures.duration_s ? duration(row.figures.duration_s) : NONE) },
    { key: "energy", title: "Energy", number: true, value: (row) => row.figures.energy_j, cell: (row) => energy(row.figures.energy_j) },
    { key: "grams", title: "CO₂e", number: true, value: (row) => row.figures.location_g, cell: (row) => grams(row.figures.location_g) },
    { key: "done", title: "Done", number: true, minor: true, value: (row) => row.unit?.[1] ?? null, cell: (row) => (row.unit ? amountOf(row.unit[1], row.unit[0]) : NONE) },
    { key: "joules", title: "Energy per unit", number: true, minor: true, value: (row) => per(row.figures.energy_j, row.unit), cell: (row) => (row.unit ? joulesPer(row.figures.energy_j, row.unit[1], row.unit[0]) : NONE) },
    { key: "per", title: "CO₂e per unit", number: true, value: (row) => per(row.figures.location_g, row.unit), cell: (row) => (row.unit ? gramsPer(row.figures.location_g, row.unit[1], row.unit[0]) : NONE) },
  ];
  return html`<${Table} caption=${`Tasks, ${PERIODS[period][0]}`} columns=${columns} rows=${rows} keyOf=${(row) => `${row.zone}:${row.node}:${row.name}`}
    sort=${{ key: "grams", down: true }} empty="No task ran in this time." />`;
}

function Jobs({ store, rows, id, title: name, children }) {
  const now_s = store.now() / 1000;
  const shown = rows.filter((job) => !job.service).map((job) => ({ ...job, unit: mainUnit(job.units) }));
  const columns = [
    { key: "name", title: "Job", value: (job) => job.name },
    { key: "state", title: "State", value: (job) => RANK[job.state] ?? 9, cell: (job) => html`<${State} tone=${job.late ? "bad" : STATES[job.state]}>${job.late ? `${job.state}, late` : job.state}<//>` },
    { key: "done", title: "Done", number: true, value: (job) => job.done, cell: (job) => html`<${Share} value=${job.done} state=${job.state} />` },
    { key: "where", title: "Where", minor: true, value: (job) => job.node || job.zone, cell: (job) => (job.node ? html`<a href=${to("node", job.zone, job.node)}>${job.node}</a>` : job.zone || NONE) },
    { key: "start", title: "Starts", minor: true, value: (job) => job.start_s, cell: (job) => (job.state === "waiting" ? when(job.start_s, now_s) : NONE) },
    { key: "end", title: "Ends", minor: true, value: (job) => job.end_s, cell: (job) => when(job.end_s, now_s) },
    { key: "deadline", title: "Deadline", minor: true, value: (job) => job.deadline_s, cell: (job) => when(job.deadline_s, now_s) },
    { key: "model", title: "Model", minor: true, value: (job) => job.model || "", cell: (job) => job.model || NONE },
    { key: "energy", title: "Energy", number: true, minor: true, value: (job) => job.energy_j, cell: (job) => (job.energy_j ? energy(job.energy_j) : NONE) },
    { key: "grams", title: "CO₂e", number: true, value: (job) => job.emissions_g, cell: (job) => (job.emissions_g ? grams(job.emissions_g) : NONE) },
    { key: "expected", title: "In all", number: true, minor: true, help: "What it is expected to emit in all, or has", value: (job) => job.expected_g, cell: (job) => (job.expected_g ? grams(job.expected_g) : NONE) },
    { key: "per", title: "CO₂e per unit", number: true, minor: true, value: (job) => per(job.emissions_g || null, job.unit), cell: (job) => (job.unit && job.emissions_g ? gramsPer(job.emissions_g, job.unit[1], job.unit[0]) : NONE) },
  ];
  const open = shown.filter((job) => !["done", "failed", "cancelled"].includes(job.state)).length;
  return html`<${Panel} id=${id} title=${name} aside=${html`${open} open of ${shown.length} shown · <a href=${to("plan")}>the plan</a>`}>
    <${Table} caption=${`${name}, each with its state`} columns=${columns} rows=${shown} keyOf=${(job) => job.id} sort=${{ key: "state", down: false }}
      href=${(job) => to("work", "job", job.id)} rowClass=${(job) => (job.late ? "late" : "")}
      empty=${html`No job was submitted. <code>evenwatt submit</code> takes some; the documentation has an example.`} />
    ${children}
  <//>`;
}

function Share({ value, state }) {
  const width = `${Math.round(100 * value)}%`;
  return html`<span class="share"><span class="bar thin" aria-hidden="true"><span class=${`fill ${state}`} style=${{ width }}></span></span> <span class="so-far">${percent(value)}</span></span>`;
}

function when(wall_s, now_s = Date.now() / 1000) {
  if (wall_s === null || wall_s === undefined) return NONE;
  const far = Math.abs(wall_s - now_s) > 43_200;
  return html`<time datetime=${new Date(wall_s * 1000).toISOString()}>${far ? moment(wall_s * 1000) : clock(wall_s * 1000)}</time>`;
}

// --- one workload ---------------------------------------------------------------------------------------------------

function Workload({ store, name }) {
  const [period, setPeriod] = useState("day");
  const live = useStore(store, (all) => all.workloads.get(name));
  const jobs = useJobs(store, (job) => job.workload === name);
  const { data, error } = useReport(period, `by=workload&workload=${encodeURIComponent(name)}`);
  const figures = data?.rows.find((row) => row.name === name)?.figures ?? data?.total;
  const unit = mainUnit(figures?.units);
  const line = data?.line ?? [];
  return html`<p class="crumbs"><a href=${to("work")}>Work</a></p><h1>${name}</h1>
    <div class="toolbar"><${Period} period=${period} setPeriod=${setPeriod} /> <a href=${to("score", name)}>Its score</a></div>
    ${error ? html`<${Notice} tone="warn">${error}<//>` : null}
    <dl class="figures">
      <${Figure} name="Power now" value=${watts(live?.power_w)} note=${live ? `on ${many(live.nodes, "node")}, ${gramsPerHour(live.emissions_g_per_h)}` : "it does not run now"} />
      <${Figure} name=${`Energy, ${PERIODS[period][0]}`} value=${energy(figures?.energy_j)} note=${figures ? `${energy(figures.dynamic_j)} above idle` : ""} />
      <${Figure} name=${`CO₂e, ${PERIODS[period][0]}`} value=${grams(figures?.location_g)} note=${unit ? `for ${amountOf(unit[1], unit[0])}` : "no unit of work was counted"} />
      <${Figure} name="CO₂e per unit" value=${unit ? gramsPer(figures.location_g, unit[1], unit[0]).split(" per ")[0] : NONE} note=${unit ? `per ${singular(unit[0])}; ${joulesPer(figures.energy_j, unit[1], unit[0])}` : "tasks say it: evenwatt run --unit"} />
    </dl>
    ${line.length >= LEAST_POINTS ? html`<${Panel} id="work-line" title="CO₂e over time"><${Chart} title=${`CO₂e of ${name}`} x=${line.map((one) => one.start_s)} format=${grams} height=${160}
      series=${[{ label: "CO₂e", values: line.map((one) => one.location_g), colour: "carbon", fill: true, stepped: true }]} /><//>` : null}
    ${jobs.length ? html`<${Jobs} store=${store} rows=${jobs} id="work-its-jobs" title="Its jobs" />` : null}
    <${Panel} id="work-its-tasks" title="Its tasks"><${TaskTable} period=${period} workload=${name} /><${Caveats} notes=${data?.notes} /><//>`;
}

// --- one job --------------------------------------------------------------------------------------------------------

function Job({ store, id }) {
  const row = useStore(store, (all) => all.jobs.get(id));
  const { data: job, error } = useAsked(`/api/v1/jobs/${encodeURIComponent(id)}`, 10, row?.state ?? null);
  if (error && !job) return html`<p class="crumbs"><a href=${to("work")}>Work</a></p><h1>Job ${id}</h1><${Notice} tone="warn">${error}<//>`;
  if (!job) return html`<h1>Job ${id}</h1><p class="loading" role="status">Loading…</p>`;
  const spec = job.spec;
  const workload = spec.workload || spec.name;
  const energy_j = job.runs.reduce((sum, run) => sum + run.energy_j, 0);
  const spent_g = job.runs.reduce((sum, run) => sum + run.grams, 0);
  const unit = mainUnit(row?.units ?? units(job));
  const now_s = store.now() / 1000;
  return html`<p class="crumbs"><a href=${to("work")}>Work</a> › <a href=${to("work", workload)}>${workload}</a></p>
    <h1>${spec.name} <${State} tone=${job.late ? "bad" : STATES[job.state]}>${job.late ? `${job.state}, late` : job.state}<//></h1>
    ${job.why && job.why !== job.state ? html`<p class="lead">${job.why}</p>` : null}
    ${spec.service ? null : html`<dl class="figures">
      <${Figure} name="Done" value=${percent(job.state === "done" ? 1 : (row?.done ?? 0))} note=${job.length_s ? `of ${duration(job.length_s)} at full power` : ""} />
      <${Figure} name="Energy so far" value=${energy_j ? energy(energy_j) : NONE} note=${unit && energy_j ? joulesPer(energy_j, unit[1], unit[0]) : ""} />
      <${Figure} name="CO₂e so far" value=${spent_g ? grams(spent_g) : NONE} note=${unit && spent_g ? gramsPer(spent_g, unit[1], unit[0]) : job.decision ? `${grams(job.decision.chosen.grams)} expected in all` : ""} />
      <${Figure} name="Deadline" tone=${job.late ? "bad" : ""} value=${job.deadline_s === null ? "none" : due(job, now_s)} note=${job.deadline_s === null ? "" : moment(job.deadline_s * 1000)} />
    </dl>`}
    <${Panel} id="job-why" title="Why then and there"><${JobReason} id=${id} key=${`${job.state}${job.moves}${job.decision?.made_s}`} /><//>
    ${job.runs.length ? html`<${Runs} runs=${job.runs} now_s=${now_s} />` : null}
    <${Panel} id="job-spec" title="What was asked for"><${Facts} rows=${[
      ["Id", html`<span class="mono">${job.id}</span>`],
      ["Submitted", `${moment(job.submitted_s * 1000)} by ${job.by}`],
      ["Template", spec.template ?? ""],
      ["Run by", spec.external],
      ["Values", Object.entries(spec.values ?? {}).map(([name, value]) => `${name} ${value}`).join(", ")],
      ["Work", spec.work ? amountOf(spec.work.amount, spec.work.unit) : ""],
      ["Length and power", job.estimate],
      ["Adds", job.power_w ? watts(job.power_w) : ""],
      ["May be interrupted", spec.service ? "" : spec.interruptible ? "yes" : "no"],
      ["Priority", String(spec.priority)],
      ["Model", spec.model],
      ["Task", spec.service?.task],
      ["Team", spec.team],
      ["After", spec.after?.length ? spec.after.map((other) => html`<a key=${other} href=${to("work", "job", other)}>${other}</a> `) : ""],
    ]} /><//>`;
}

function due(job, now_s) {
  if (job.ended_s !== null) return job.outcome?.late || job.ended_s > job.deadline_s ? "missed" : "kept";
  return job.deadline_s > now_s ? `in ${duration(job.deadline_s - now_s)}` : "over";
}

function units(job) {
  const found = {};
  for (const run of job.runs) for (const [unit, amount] of Object.entries(run.units)) found[unit] = (found[unit] ?? 0) + amount;
  return found;
}

function Runs({ runs, now_s }) {
  const columns = [
    { key: "attempt", title: "Run", value: (run) => run.attempt },
    { key: "node", title: "Node", value: (run) => run.node, cell: (run) => (run.node ? html`<a href=${to("node", run.zone, run.node)}>${run.node}</a>` : run.zone) },
    { key: "state", title: "State", value: (run) => run.state ?? "asked", cell: (run) => html`<${State} tone=${{ running: "good", failed: "bad", lost: "bad", stopped: "warn" }[run.state] ?? "off"}>${run.state ?? "asked"}<//>` },
    { key: "start", title: "Began", value: (run) => run.started_s, cell: (run) => when(run.started_s, now_s) },
    { key: "took", title: "Ran", number: true, value: (run) => run.duration_s, cell: (run) => duration(run.duration_s) },
    { key: "cap", title: "Learned cap", number: true, minor: true, value: (run) => run.cap_w, cell: (run) => watts(run.cap_w) },
    { key: "energy", title: "Energy", number: true, value: (run) => run.energy_j, cell: (run) => energy(run.energy_j) },
    { key: "grams", title: "CO₂e", number: true, value: (run) => run.grams, cell: (run) => grams(run.grams) },
    { key: "detail", title: "Said", minor: true, value: (run) => run.detail, cell: (run) => run.detail || (run.exit_code === null ? NONE : `exit code ${run.exit_code}`) },
  ];
  return html`<${Panel} id="job-runs" title="Its runs"><${Table} caption="Runs of this job" columns=${columns} rows=${runs} keyOf=${(run) => run.id} sort=${{ key: "attempt", down: false }} /><//>`;
}
