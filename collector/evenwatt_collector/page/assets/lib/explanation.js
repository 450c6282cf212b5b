// Why something is as it is: of a node or zone at a moment, or of a job with what else there was.

import { html, useState } from "/page/vendor/htm-preact.js";
import { useAsked } from "/page/lib/asked.js";
import { NONE, clock, duration, energy, grams, moment, watts } from "/page/lib/format.js";
import { Empty, Facts, Notice, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";

/** Why a node (`ZONE:NODE`) or zone (`ZONE:`) was treated as it was at a moment (Unix seconds; now without one). */
export function PowerReason({ name, at_s = null }) {
  const at = at_s === null ? "" : `?at=${at_s}`;
  const { data, error } = useAsked(`/api/v1/explain/${encodeURIComponent(name)}${at}`);
  if (error) return html`<${Notice} tone="note">${error}<//>`;
  if (!data) return html`<p class="loading" role="status">Loading…</p>`;
  const texts = paragraphs(data.lines);
  const before = texts.filter((text) => MOMENT.test(text));
  return html`<div class="reason">
    ${texts.filter((text) => !MOMENT.test(text)).map((text, i) => html`<${Said} key=${i} text=${text} />`)}
    ${before.length ? html`<ul class="plain quiet">${before.map((text) => html`<li key=${text}>${text}</li>`)}</ul>` : null}
    <${PowerFacts} reason=${data.reason} kind=${data.kind} />
  </div>`;
}

function PowerFacts({ reason, kind }) {
  if (!reason) return null;
  const short = reason.short;
  const rows =
    kind === "zone"
      ? [
          ["Drawn", watts(reason.power_w)],
          ["Budget", reason.budget_w === null ? "none of its own" : watts(reason.budget_w)],
          ["Steered to", watts(reason.target_w)],
          ["At most, by its leases", watts(reason.most_w)],
          ["Floors and fixed load", watts(reason.floors_w)],
          ["Nodes", `${reason.nodes}, ${reason.capped} with less than they want, ${reason.paused} paused`],
        ]
      : [
          ["May draw", watts(reason.cap_w)],
          ["Draws", watts(reason.power_w)],
          ["Wants", reason.demand_w === null ? NONE : `${watts(reason.demand_w)}${reason.demand_hidden ? " (its most; it runs at its cap)" : ""}`],
          ["Floor to most", `${watts(reason.floor_w)} to ${watts(reason.ceiling_w)}`],
          ["Priority", `${reason.priority}${reason.kind ? ` (class ${reason.kind})` : ""}`],
          ["Zone that decides", short ? `${short.zone}: ${watts(short.power_w)} of ${watts(short.budget_w)}` : "none is short"],
        ];
  return html`<${Facts} rows=${rows} />`;
}

const MOMENT = /^\d{4}-\d\d-\d\d \d\d:/; // begins a line of "Before that"

/** Lines of a fixed width as paragraphs: what is indented goes on with the line before. */
function paragraphs(lines) {
  const found = [];
  for (const line of lines ?? []) {
    if (line.startsWith("  ") && found.length && !MOMENT.test(line.slice(2))) found[found.length - 1] += ` ${line.trim()}`;
    else found.push(line.trim());
  }
  return found;
}

const HEADS = /^(Why|What would change it|Nodes|Alarm|Before that|because|instead of at once, at home, at full power|it rests on|power cap [^:]*):?\s*/;

function Said({ text }) {
  const head = text.match(HEADS);
  if (!head) return html`<p>${text}</p>`;
  return html`<p><strong>${head[0].trim()}</strong> ${text.slice(head[0].length)}</p>`;
}

/** Why a job is when and where it is: what was chosen, what else there was, what would change it, what came of it. */
export function JobReason({ id }) {
  const { data, error } = useAsked(`/api/v1/jobs/${encodeURIComponent(id)}/explain`);
  const [shown, setShown] = useState(0);
  if (error) return html`<${Notice} tone="note">${error}<//>`;
  if (!data) return html`<p class="loading" role="status">Loading…</p>`;
  const { job, decisions, lines } = data;
  const decision = decisions[Math.min(shown, decisions.length - 1)];
  return html`<div class="reason">
    <p>${lines[0]}</p>
    ${decision ? html`<${Choice} job=${job} decision=${decision} words=${shown === 0 ? because(lines) : ""} />` : html`<${Unplanned} lines=${lines} />`}
    ${decisions.length > 1 ? html`<${Earlier} decisions=${decisions} shown=${shown} setShown=${setShown} />` : null}
    ${job.outcome ? html`<${Came} outcome=${job.outcome} />` : null}
  </div>`;
}

/** What is told of a service, and of work that nothing was decided about. */
function Unplanned({ lines }) {
  const rest = paragraphs(lines.slice(1));
  if (!rest.length) return html`<${Empty}>Nothing is decided yet: a plan is made within seconds.<//>`;
  return html`${rest.map((text, i) => html`<${Said} key=${i} text=${text} />`)}`;
}

const because = (lines) => (lines.find((line) => line.trim().startsWith("because ")) ?? "").trim().replace(/^because /, "");

function Choice({ job, decision, words }) {
  const rows = [
    { ...decision.chosen, title: decision.policy === "baseline" ? "Chosen: at once" : "Chosen", chosen: true },
    { ...decision.baseline, title: "At once, at home, at full power" },
    ...decision.alternatives.filter((one) => !["chosen", "now"].includes(one.name)).map((one) => ({ ...one, title: NAMES[one.name] ?? named(one.name) })),
  ];
  return html`
    <p class="quiet">Decided ${moment(decision.made_s * 1000)} by policy ${decision.version || "without a version"} (${decision.policy}).
      ${words ? html` <strong>Because</strong> ${words}.` : null}</p>
    <div class="table options" tabindex="0" role="group" aria-label="What could be done"><table>
      <caption class="hidden">What could be done, with grams, energy, cost and the time it would end</caption>
      <thead><tr><th scope="col">What</th><th scope="col" class="number">CO₂e</th><th scope="col" class="number minor">90 % range</th><th scope="col">Starts</th>
        <th scope="col">Ends</th><th scope="col" class="minor">Where</th><th scope="col" class="number">Energy</th>${rows.some((one) => one.cost) ? html`<th scope="col" class="number">Cost</th>` : null}
        <th scope="col">Why, or why not</th></tr></thead>
      <tbody>${rows.map((one, i) => html`<${Option} key=${i} one=${one} job=${job} costs=${rows.some((row) => row.cost)} baseline=${decision.baseline} />`)}</tbody>
    </table></div>
    ${decision.would_change.length ? html`<h3>What would change it</h3><ul class="plain">${decision.would_change.map((text) => html`<li key=${text}>${text}</li>`)}</ul>` : null}
    ${decision.cap_why ? html`<p><strong>Power cap</strong> ${decision.cap_w ? `${watts(decision.cap_w)}: ` : ""}${decision.cap_why}</p>` : null}
    ${decision.rests_on ? html`<p class="quiet after"><strong>It rests on</strong> ${decision.rests_on}.</p>` : null}`;
}

const NAMES = { contiguous: "In one piece", split: "In pieces" };
const named = (name) => name.replace(/^place:/, "In ").replace(/^width:/, "On slots: ");

function Option({ one, job, costs, baseline }) {
  const none = one.start_s === null;
  const late = !none && job.deadline_s !== null && one.end_s > job.deadline_s + 1;
  return html`<tr class=${one.chosen ? "chosen" : ""}>
    <th scope="row">${one.chosen ? html`<span class="tick" aria-hidden="true">✓ </span>` : null}${one.title}</th>
    <td class="number">${none ? NONE : grams(one.grams)}${none || one === baseline ? null : html` <${Less} from=${baseline.grams} by=${one.grams} />`}</td>
    <td class="number minor">${none ? NONE : `${grams(one.low_g)} to ${grams(one.high_g)}`}</td>
    <td>${none ? NONE : at(one.start_s)}</td>
    <td>${none ? NONE : at(one.end_s)}${late ? html` <${State} tone="bad">late<//>` : null}</td>
    <td class="minor">${one.zone || NONE}</td>
    <td class="number">${none ? NONE : energy(one.energy_kwh * 3.6e6)}</td>
    ${costs ? html`<td class="number">${none ? NONE : one.cost.toPrecision(3)}</td>` : null}
    <td class="wrap">${one.feasible ? "" : html`<${State} tone="warn">not possible<//> `}${one.chosen ? "" : one.why}</td>
  </tr>`;
}

function Less({ from, by }) {
  if (!(from > 0) || Math.abs(1 - by / from) < 0.005) return null;
  const share = Math.round(100 * (by / from - 1));
  return html`<small class="quiet">${share > 0 ? "+" : "−"}${Math.abs(share)} %</small>`;
}

const at = (wall_s) => (Math.abs(Date.now() - wall_s * 1000) < 64_800_000 ? clock(wall_s * 1000) : moment(wall_s * 1000));

function Earlier({ decisions, shown, setShown }) {
  return html`<label class="inline">Decided ${decisions.length} times; shown:
    <select value=${shown} onChange=${(event) => setShown(Number(event.target.value))}>
      ${decisions.map((one, i) => html`<option key=${i} value=${i}>${i === 0 ? "the latest, " : ""}${moment(one.made_s * 1000)}: ${grams(one.chosen.grams)}</option>`)}
    </select></label>`;
}

function Came({ outcome }) {
  const saved_g = outcome.counterfactual_g - outcome.grams;
  const rows = [
    ["Emitted", grams(outcome.grams)],
    ["Foreseen", `${grams(outcome.predicted_g)} (${grams(outcome.predicted_low_g)} to ${grams(outcome.predicted_high_g)})`],
    ["At once it would have been", grams(outcome.counterfactual_g)],
    [saved_g >= 0 ? "Saved" : "Lost", grams(Math.abs(saved_g))],
    ["Energy", energy(outcome.energy_j)],
    ["Took", duration(outcome.duration_s)],
    ["Deadline", outcome.late ? html`<${State} tone="bad">missed<//>` : outcome.deadline_s === null ? "none" : html`<${State} tone="good">kept<//>`],
  ];
  return html`<h3>What came of it</h3><${Facts} rows=${rows} />`;
}

/** A link to a node or zone by its full name. */
export function Place({ name }) {
  const [zone, ...node] = name.split(":");
  if (!node.length || node[0] === "") return html`<a href=${to("zone", zone)}>${zone}</a>`;
  return html`<a href=${to("node", zone, node.join(":"))}>${node.join(":")}</a>`;
}
