// What a unit of work emits, how sure that is, how it stands against its baseline, and whether it gets better.

import { html, useState } from "/page/vendor/htm-preact.js";
import { amountOf, singular, useAsked } from "/page/lib/asked.js";
import { Chart } from "/page/lib/chart.js";
import { NONE, count, day, duration, energy, grams, many, moment, percent } from "/page/lib/format.js";
import { Empty, Facts, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { Table } from "/page/lib/table.js";

export const title = "Score";

const PERIODS = { day: ["last day", 86_400], week: ["last 7 days", 604_800], month: ["last 30 days", 2_592_000] };
const SUBJECTS = { workload: "Workloads", model: "Models", fleet: "Fleet" };
const ASK_EVERY_S = 120;
const STEP_S = 300;
const LETTERS = [["A", 75, 100], ["B", 60, 75], ["C", 40, 60], ["D", 25, 40], ["E", 0, 25]];
const LEAST_KEPT = 0.95;
const LEAST_COVERED = 0.8;

const FACTORS = {
  energy: ["Energy", "model, code, machine and power cap"],
  idle: ["Idle", "how much of the machine the work leaves unused"],
  grid: ["Grid", "how clean the grids are: nobody's merit"],
  placement: ["Placement", "where it ran, PUE included"],
  timing: ["Timing", "when it ran"],
  embodied: ["Devices", "making them, as long as they were held"],
};

export function View({ params }) {
  const [subject, setSubject] = useState("workload");
  const [period, setPeriod] = useState("week");
  const from_s = Math.floor(Date.now() / 1000 / STEP_S) * STEP_S - PERIODS[period][1];
  const name = params[0] && subject === "workload" ? `&name=${encodeURIComponent(params[0])}` : "";
  const { data, error } = useAsked(`/api/v1/score?by=${subject}&from=${from_s}${name}`, ASK_EVERY_S, null, `${subject} ${period} ${name}`);
  const scores = (data?.scores ?? []).filter((one) => one.sci).sort((a, b) => Boolean(b.grade) - Boolean(a.grade));
  const without = (data?.scores ?? []).filter((one) => !one.sci);
  return html`${params[0] ? html`<p class="crumbs"><a href=${to("score")}>Score</a></p>` : null}<h1>${params[0] ? `Score of ${params[0]}` : "Score"}</h1>
    <p class="lead">Software Carbon Intensity (ISO/IEC 21031): grams of CO₂e per unit of work, with its 90 % range. The grade holds it against a frozen baseline of the same work.</p>
    <div class="toolbar">
      ${params[0] ? null : html`<${Switch} label="Of what" chosen=${subject} choose=${setSubject} options=${Object.entries(SUBJECTS)} />`}
      <${Switch} label="Period" chosen=${period} choose=${setPeriod} options=${Object.entries(PERIODS).map(([key, [words]]) => [key, words])} />
      ${data ? html`<p class="quiet">As known at ${moment(data.known_at_s * 1000)}.</p>` : null}
    </div>
    ${error ? html`<${Notice} tone="note">${error}<//>` : null}
    ${data ? null : error ? null : html`<p class="loading" role="status">Loading…</p>`}
    <div class="scores">${scores.map((one, i) => html`<${Card} key=${`${one.subject} ${one.name}`} one=${one} id=${`score-${i}`} />`)}
      ${without.length ? html`<${Panel} id="score-without" title="Without a score"><ul class="list">${without.map((one) => html`<li key=${one.name}><${Named} one=${one} />: ${one.why || "there is nothing to divide by"}. It emitted ${grams(one.grams)}.</li>`)}</ul><//>` : null}</div>
    ${data && !scores.length && !without.length ? html`<${Panel} id="score-none" title="Scores"><${Empty}>No work was seen in this time, so there is nothing to score.<//><//>` : null}
    ${data ? html`<${Whole} data=${data} />` : null}
    <${Improvement} workload=${params[0]} />`;
}

function Switch({ label, chosen, choose, options }) {
  return html`<div class="switch" role="group" aria-label=${label}>${options.map(([key, words]) => html`<button key=${key} type="button" aria-pressed=${chosen === key}
    onClick=${() => choose(key)}>${words}</button>`)}</div>`;
}

// --- one score ------------------------------------------------------------------------------------------------------

function Named({ one }) {
  return one.subject === "workload" ? html`<a href=${to("work", one.name)}>${one.name}</a>` : html`<b>${one.name}</b>`;
}

function Card({ one, id }) {
  const unit = singular(one.unit);
  const { g_per_unit: value, low_g_per_unit: low, high_g_per_unit: high } = one.sci;
  return html`<section class="panel score" aria-labelledby=${id}>
    <header><h2 id=${id}><${Named} one=${one} /></h2><div class="aside">${amountOf(one.sci.units, one.unit)}, ${grams(one.grams)}</div></header>
    <div class="headline">
      <${Letter} grade=${one.grade} />
      <div class="sci"><p class="value">${grams(value)} <small>CO₂e per ${unit}</small></p>
        <p class="quiet">90 % range ${grams(low)} to ${grams(high)}${one.against ? `; baseline ${grams(one.against.g_per_unit)}` : ""}</p>
        <${Range} value=${value} low=${low} high=${high} base=${one.against?.g_per_unit} /></div>
      <${Gates} one=${one} />
    </div>
    ${one.grade ? html`<p>${gradeWords(one)}</p>` : html`<p><${State} tone="off">no grade<//> ${one.why}. Freeze one: <code>evenwatt score freeze ${one.name}</code>.</p>`}
    <${Factors} one=${one} unit=${unit} />
    <details class="notes"><summary>What it rests on</summary>
      <${Facts} rows=${[
        ["Boundary", one.boundary],
        ["Intensities", one.factors_from.join("; ")],
        ["Energy", `${energy(one.sci.energy_kwh * 3.6e6)} at ${one.sci.g_per_kwh.toFixed(0)} g/kWh`],
        ["Making of devices", one.sci.embodied_g === null ? "not configured" : grams(one.sci.embodied_g)],
        ["Recorded", duration(one.recorded_s)],
        ["Baseline", one.against ? `${one.against.name} version ${one.against.version}, ${moment(one.against.start_s * 1000)} to ${moment(one.against.end_s * 1000)}, SHA-256 ${one.against.digest.slice(0, 12)}` : ""],
        ["Baseline moved", one.against?.moved_pct ? `${one.against.moved_pct.toFixed(0)} % from the version before` : ""],
        ["Provisional", one.against?.provisional],
      ]} />
      ${one.notes.length ? html`<ul class="plain">${one.notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul>` : null}
    </details>
  </section>`;
}

function gradeWords({ grade, against, sci }) {
  const ratio = sci.g_per_unit / against.g_per_unit;
  const change = ratio < 1 ? `${Math.round(100 * (1 - ratio))} % less than` : `${Math.round(100 * (ratio - 1))} % more than`;
  const capped = grade.capped ? ` Held down: ${grade.capped}.` : "";
  return `${grade.points.toFixed(0)} of 100 points (90 % range ${grade.low.toFixed(0)} to ${grade.high.toFixed(0)}): ${Math.abs(ratio - 1) < 0.005 ? "as much as" : change} its baseline.${capped}`;
}

function Letter({ grade }) {
  if (!grade) return html`<p class="letter none"><span class="hidden">Grade: </span><b>${NONE}</b><small>no grade</small></p>`;
  return html`<p class=${`letter letter-${grade.letter}`}><span class="hidden">Grade </span><b>${grade.letter}</b><small>${grade.points.toFixed(0)} points</small>
    <svg class="scale" viewBox="0 0 100 8" width="84" height="8" preserveAspectRatio="none" aria-hidden="true">${LETTERS.map(([letter, from, until]) => html`<rect key=${letter} x=${from} width=${until - from - 1} y="2" height="4" class=${letter === grade.letter ? "here" : ""} />`)}
      <rect class="at" x=${Math.min(98, Math.max(0, grade.points - 1))} width="2" y="0" height="8" /></svg></p>`;
}

/** The figure in its range, on a scale from 0, with the baseline. */
function Range({ value, low, high, base }) {
  const most = Math.max(high, base ?? 0) * 1.06;
  const x = (amount) => (100 * amount) / most;
  return html`<svg class="range" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true">
    <rect class="ground" x="0" y="5" width="100" height="4" />
    <rect class="interval" x=${x(low)} y="3" width=${Math.max(0.6, x(high) - x(low))} height="8" />
    <rect class="at" x=${x(value) - 0.3} y="1" width="0.6" height="12" />
    ${base ? html`<rect class="base" x=${Math.min(99.4, x(base) - 0.3)} y="0" width="0.6" height="14" />` : null}
  </svg>`;
}

function Gates({ one }) {
  const { jobs, kept } = one.kept;
  const share = jobs ? kept / jobs : null;
  return html`<dl class="gates">
    <div><dt>Jobs that kept their bounds</dt><dd>${share === null ? html`<${State} tone="off">none judged<//>` : html`<${State} tone=${share >= LEAST_KEPT ? "good" : "bad"}>${kept} of ${jobs}<//>`}
      <span class="quiet">95 % needed</span></dd></div>
    <div><dt>Measured coverage</dt><dd>${one.coverage === null ? html`<${State} tone="off">not known<//>` : html`<${State} tone=${one.coverage >= LEAST_COVERED ? "good" : "warn"}>${percent(one.coverage, one.coverage < 0.1 ? 1 : 0)}<//>`}
      <span class="quiet">80 % for an A</span></dd></div>
  </dl>`;
}

/** Factors that multiply to grams per unit; each bar is its part of the change, on a scale of ratios. */
function Factors({ one, unit }) {
  if (!one.factors.length) return html`<p class="quiet">Its factors are not known: one of them is nothing.</p>`;
  const held = Boolean(one.against);
  const ratios = one.factors.map((factor) => factor.ratio).filter((ratio) => ratio > 0);
  const total = held ? one.sci.g_per_unit / one.against.g_per_unit : null;
  const reach = Math.max(0.35, ...[...ratios, ...(total > 0 ? [total] : [])].map((ratio) => Math.abs(Math.log2(ratio))));
  return html`<div class="table" tabindex="0" role="group" aria-label=${`Factors of ${one.name}`}><table class="factors">
    <caption class="hidden">Factors of ${one.name}, which multiply to grams per ${unit}</caption>
    <thead><tr><th scope="col">Factor</th>${held ? html`<th scope="col" class="number minor">Base</th>` : null}<th scope="col" class="number">Now</th>${held ? html`<th scope="col" class="number">Ratio</th>
      <th scope="col" class="minor">Less or more</th><th scope="col" class="number">Points</th>` : null}</tr></thead>
    <tbody>${one.factors.map((factor) => html`<tr key=${factor.name}>
        <th scope="row">${FACTORS[factor.name]?.[0] ?? factor.name}<small class="quiet">${FACTORS[factor.name]?.[1]}</small></th>
        ${held ? html`<td class="number minor">${amount(factor, factor.base)}</td>` : null}<td class="number">${amount(factor, factor.actual)}</td>
        ${held ? html`<td class="number">${factor.ratio === null ? NONE : `×${factor.ratio.toFixed(2)}`}</td>
        <td class="minor"><${Ratio} ratio=${factor.ratio} reach=${reach} /></td>
        <td class="number">${factor.points === null ? NONE : signed(factor.points)}</td>` : null}</tr>`)}</tbody>
    <tfoot><tr><th scope="row">Together</th>${held ? html`<td class="number minor">${grams(one.against.g_per_unit)}</td>` : null}<td class="number">${grams(one.sci.g_per_unit)}</td>
      ${held ? html`<td class="number">×${total.toFixed(2)}</td><td class="minor"><${Ratio} ratio=${total} reach=${reach} /></td>
      <td class="number">${total > 0 ? signed(-25 * Math.log2(total)) : NONE}</td>` : null}</tr></tfoot>
  </table></div>`;
}

function amount(factor, value) {
  if (value === null || value === undefined) return NONE;
  if (factor.unit.startsWith("kWh/")) return energy(value * 3.6e6);
  if (factor.unit === "g/kWh") return `${value.toFixed(0)} g/kWh`;
  return value.toFixed(2);
}

const signed = (value) => `${value >= 0.05 ? "+" : value <= -0.05 ? "−" : ""}${Math.abs(value).toFixed(1)}`;

function Ratio({ ratio, reach }) {
  if (!(ratio > 0)) return html`<span class="quiet">${NONE}</span>`;
  const off = (Math.log2(ratio) / reach) * 48;
  return html`<svg class="ratio" viewBox="0 0 100 12" width="150" height="12" preserveAspectRatio="none" aria-hidden="true"><line x1="50" x2="50" y1="0" y2="12" />
    <rect class=${off <= 0 ? "less" : "more"} x=${50 + Math.min(0, off)} y="2" width=${Math.max(0.5, Math.abs(off))} height="8" /></svg>`;
}

function Whole({ data }) {
  return html`<${Panel} id="score-whole" title="What is in these scores" aside=${`${moment(data.start_s * 1000)} to ${moment(data.end_s * 1000)}`}>
    <${Facts} rows=${[
      ["The fleet emitted", grams(data.whole_g)],
      ["Of it scored", `${grams(data.scored_g)} (${data.whole_g > 0 ? percent(data.scored_g / data.whole_g) : NONE})`],
      ["Nobody's: idle and system", grams(data.nobody_g)],
    ]} />
    ${data.notes.length ? html`<details class="notes"><summary>What to know of these figures (${data.notes.length})</summary><ul class="plain">${data.notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul></details>` : null}
  <//>`;
}

// --- improvement ----------------------------------------------------------------------------------------------------

function Improvement({ workload }) {
  const [weeks, setWeeks] = useState("8");
  const { data, error } = useAsked(`/api/v1/improvement?weeks=${weeks}${workload ? `&workload=${encodeURIComponent(workload)}` : ""}`, ASK_EVERY_S);
  const choice = html`<${Switch} label="How far back" chosen=${weeks} choose=${setWeeks} options=${[["8", "8 weeks"], ["26", "26 weeks"], ["52", "a year"]]} />`;
  if (error) return html`<${Panel} id="improvement" title="Improvement"><${Notice} tone="note">${error}<//><//>`;
  if (!data) return html`<${Panel} id="improvement" title="Improvement"><p class="loading" role="status">Loading…</p><//>`;
  const { whole, policy } = data;
  const total = whole.total.saved;
  const begun = whole.weeks.findIndex((week) => week.saved.jobs > 0);
  const shown = begun < 0 ? [] : whole.weeks.slice(begun);
  return html`<${Panel} id="improvement" title="Improvement by week" aside=${choice}>
    ${policy?.alarm ? html`<${Notice} tone="bad">${policy.alarm}<//>` : null}
    ${total.jobs === 0
      ? html`<${Empty}>No job has ended in this time; then what it saved would stand here, against running at once, at home, at full power.<//>`
      : html`<dl class="figures inner">
        <${Figure} name=${total.saved_g >= 0 ? "Saved" : "Lost"} value=${total.saved_pct === null ? NONE : percent(Math.abs(total.saved_pct) / 100, 1)} note=${range(total)} tone=${total.saved_g >= 0 ? "" : "bad"} />
        <${Figure} name="CO₂e of jobs" value=${grams(total.grams)} note=${`${grams(total.counterfactual_g)} at once, at home, at full power`} />
        <${Figure} name="Jobs" value=${count(total.jobs)} note=${`${total.late} late; ${total.late_anyway} at once would have been`} />
        <${Figure} name="Error of what was foreseen" value=${pct(whole.total.predicted.mape_pct.grams)} note=${`of grams; ${whole.total.predicted.inside} of ${whole.total.predicted.ranged} in their 90 % range`} />
      </dl>
      ${shown.length > 1 ? html`<${Chart} title="Saved against running at once, by week" x=${shown.map((week) => week.start_s)} height=${150} from_zero=${false} format=${(value) => `${value.toFixed(0)} %`}
        series=${[{ label: "Saved", values: shown.map((week) => week.saved.saved_pct), colour: "good", width: 2 }, { label: "", values: shown.map((week) => week.saved.low_pct), colour: "good", width: 0 }, { label: "", values: shown.map((week) => week.saved.high_pct), colour: "good", width: 0 },
          { label: "Error of grams", values: shown.map((week) => week.predicted.mape_pct.grams), colour: "note", dash: [4, 3] }]} bands=${[{ upper: 2, lower: 1, colour: "good" }]} />` : null}
      <${Weeks} weeks=${shown} />
      <${Trends} whole=${whole} policy=${policy} />`}
  <//>`;
}

const pct = (value, places = 1) => (value === null || value === undefined ? NONE : `${value.toFixed(places)} %`);
const range = (saved) => (saved.low_pct === null ? "" : `90 %: ${saved.low_pct.toFixed(1)} to ${saved.high_pct.toFixed(1)} %; ${grams(Math.abs(saved.saved_g))}`);

function Weeks({ weeks }) {
  const columns = [
    { key: "week", title: "Week", value: (row) => row.week, cell: (row) => html`${row.week} <span class="quiet minor">from ${day(row.start_s * 1000)}</span>` },
    { key: "jobs", title: "Jobs", number: true, value: (row) => row.saved.jobs },
    { key: "grams", title: "CO₂e", number: true, value: (row) => row.saved.grams, cell: (row) => (row.saved.jobs ? grams(row.saved.grams) : NONE) },
    { key: "once", title: "At once", number: true, minor: true, value: (row) => row.saved.counterfactual_g, cell: (row) => (row.saved.jobs ? grams(row.saved.counterfactual_g) : NONE) },
    { key: "saved", title: "Saved", number: true, value: (row) => row.saved.saved_pct, cell: (row) => pct(row.saved.saved_pct) },
    { key: "range", title: "90 % range", number: true, minor: true, value: (row) => row.saved.low_pct, cell: (row) => (row.saved.low_pct === null ? NONE : `${row.saved.low_pct.toFixed(1)} to ${row.saved.high_pct.toFixed(1)} %`) },
    { key: "late", title: "Late", number: true, minor: true, value: (row) => row.saved.late },
    ...["grams", "energy", "length", "intensity"].map((name) => ({ key: `error-${name}`, title: `Error of ${name}`, number: true, minor: true, value: (row) => row.predicted.mape_pct[name], cell: (row) => pct(row.predicted.mape_pct[name]) })),
    { key: "inside", title: "In range", number: true, minor: true, value: (row) => row.predicted.coverage, cell: (row) => percent(row.predicted.coverage) },
  ];
  return html`<${Table} caption="Weeks, the latest first" columns=${columns} rows=${weeks} keyOf=${(row) => row.week} sort=${{ key: "week", down: true }} />`;
}

const TONES = { falling: "good", rising: "bad" };

function Trends({ whole, policy }) {
  const controls = whole.controls;
  return html`<h3>Does it learn?</h3><ul class="trends">${Object.entries(whole.error_trend).map(([name, trend]) => html`<li key=${name}>
      <b>error of ${name}</b> <${State} tone=${TONES[trend.verdict] ?? "off"}>${trend.verdict}<//> <span class="quiet">${trend.slope === null || !(trend.verdict in TONES) ? "" : `${signed(100 * trend.slope)} points a week, `}${many(trend.count, "job")}</span></li>`)}</ul>
    <${Facts} rows=${[
      ["Against jobs that ran at once by lot", controls.saved_pct === null ? `too few to tell (${controls.jobs})` : `${controls.saved_pct.toFixed(1)} % saved (90 %: ${controls.low_pct.toFixed(1)} to ${controls.high_pct.toFixed(1)} %)`],
      ["Energy at full power is known by", Object.entries(whole.how).map(([how, many]) => `${how} ${many}`).join(", ")],
      ["What was wrong the most, by jobs", Object.entries(whole.total.predicted.wrong).map(([what, many]) => `${what} ${many}`).join(", ")],
      ["Policy", policy ? `${policy.active}: ${many(policy.jobs, "job")} and ${many(policy.controls, "control")} under test` : ""],
      ["Rolled back", policy?.rolled_back.join(", ")],
    ]} />`;
}
