// The fleet now: watts against budgets with the caps drawn, what that emits, and what wants to be looked at.

import { html, useMemo } from "/page/vendor/htm-preact.js";
import { useAsked } from "/page/lib/asked.js";
import { clock, count, grams, gramsPerHour, intensity, many, percent, watts } from "/page/lib/format.js";
import { IntensityChart } from "/page/lib/intensity_chart.js";
import { Bar, Empty, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { Shards } from "/page/lib/shards.js";
import { fleetStale, same, useStore, zoneStale } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { eventWords, givenOut, nodeState, outermost, over, standing, together, zoneBand } from "/page/lib/words.js";
import { ZoneChart } from "/page/lib/zone_chart.js";

export const title = "Fleet";

const CHARTS = 6;
const EVENTS = 8;
const FORECAST_S = 300;

export function View({ store }) {
  const zones = useStore(store, (all) => all.zones);
  const connection = useStore(store, (all) => all.connection);
  const outer = outermost(zones).sort((a, b) => b.power_w - a.power_w);
  const known = connection.state !== "connecting" || zones.size > 0;
  return html`<h1>Fleet</h1>
    <${Troubles} store=${store} zones=${outer} />
    ${known ? html`<${Figures} store=${store} zones=${outer} connection=${connection} />` : html`<p class="loading" role="status">Connecting…</p>`}
    ${known && !outer.length ? html`<${Empty}>No zone has been heard of yet. A node that speaks on the broker appears here by itself.<//>` : null}
    <div class="grid">
      ${outer.slice(0, CHARTS).map((zone, i) => html`<${ZonePanel} key=${zone.zone} store=${store} zone=${zone} turns=${Math.min(outer.length, CHARTS)} turn=${i} stale=${zoneStale(zone, connection)} />`)}
      <${Intensities} store=${store} />
    </div>
    ${outer.length > CHARTS ? html`<p><a href="#/zones">All ${outer.length} zones</a></p>` : null}
    <${Shards} store=${store} />
    <div class="grid loose">
      <${Workloads} store=${store} />
      <${Events} store=${store} />
    </div>`;
}

function Figures({ store, zones, connection }) {
  const nodes = useStore(store, countNodes, same);
  const budgets = useStore(store, (all) => all.collector?.budgets);
  const power_w = sum(zones, "power_w");
  const budget_w = zones.length && zones.every((zone) => zone.budget_w !== null) ? sum(zones, "budget_w") : null;
  const leased_w = sum(zones, "leased_w");
  const grams_per_h = sum(zones, "emissions_g_per_h");
  const dirty = zones.length ? (power_w > 0 ? zones.reduce((all, zone) => all + zone.intensity_g_per_kwh * zone.power_w, 0) / power_w : zones[0].intensity_g_per_kwh) : null;
  const stale = fleetStale(zones, connection);
  const kinds = [...new Set(zones.map((zone) => standing(zone.intensity_standing)))].join(", ");
  const day = budgets?.find((one) => one.scope === "fleet" && one.grams_per_day && one.spent_g !== null);
  return html`<dl class="figures">
    <${Figure} name="Power now" value=${`${watts(power_w)}${nodes.estimated ? "~" : ""}`} stale=${stale} tone=${budget_w !== null && power_w > budget_w ? "bad" : ""}
      note=${budget_w === null ? (zones.some((zone) => zone.budget_w !== null) ? "not every zone has a budget" : "no budget") : html`${percent(power_w / budget_w)} of a budget of ${watts(budget_w)}<${Bar} power_w=${power_w} cap_w=${budget_w} most_w=${budget_w * 1.08} stale=${Boolean(stale)} />`} />
    <${Figure} name="Caps and the rest" value=${watts(leased_w)} stale=${stale} tone=${over(leased_w, budget_w) ? "warn" : ""} note=${budget_w === null ? "the most that can be drawn now" : givenOut(leased_w, budget_w)} />
    <${Figure} name="Emissions" value=${gramsPerHour(grams_per_h)} stale=${stale} note=${day ? `${grams(day.spent_g)} of ${grams(day.grams_per_day)} today` : `${grams(sum(zones, "emissions_g"))} counted so far`} />
    <${Figure} name="Intensity" value=${intensity(dirty)} stale=${stale} note=${zones.length ? `${kinds}${zones.length > 1 ? ", weighted by power" : ""}` : ""} />
    <${Figure} name="Nodes" value=${`${count(nodes.ready)} of ${count(nodes.all)} ready`} stale=${stale} tone=${nodes.bad ? "warn" : ""}
      note=${[nodes.bad && `${count(nodes.bad)} silent or lost`, nodes.left && `${count(nodes.left)} have left`, nodes.paused && `${count(nodes.paused)} paused`, `${count(nodes.capped)} at their cap`].filter(Boolean).join(", ")} />
  </dl>`;
}

const sum = (rows, name) => rows.reduce((all, row) => all + (row[name] ?? 0), 0);

function countNodes(state) {
  const found = { all: 0, ready: 0, bad: 0, left: 0, paused: 0, capped: 0, estimated: 0 };
  for (const node of state.nodes.values()) {
    const { tone, word } = nodeState(node);
    found.all += 1;
    if (word === "ready" || word === "paused") found.ready += 1;
    if (tone === "bad") found.bad += 1;
    if (word === "has left") found.left += 1;
    if (node.paused?.length) found.paused += 1;
    if (node.at_cap) found.capped += 1;
    if (node.quality === "estimated" && node.power_w) found.estimated += 1;
  }
  return found;
}

/** Why the collector is not ready, what it warns of, open alerts: each once, with the zones that say so. */
function Troubles({ store, zones }) {
  const reasons = useStore(store, (all) => all.collector?.reasons);
  const alerts = useStore(store, (all) => all.alerts);
  const connection = useStore(store, (all) => all.connection);
  const said = new Map();
  for (const zone of zones) for (const alarm of zone.alarms ?? []) said.set(alarm, [...(said.get(alarm) ?? []), zone.zone]);
  for (const reason of reasons ?? []) said.delete(reason);
  return html`<div class="troubles">
    ${connection.state === "reconnecting" || connection.state === "refused" ? html`<${Notice} tone="bad">What is shown is of ${clock(connection.since_ms)}: ${connection.why}
      ${connection.state === "refused" ? html` <a href="#/act">Log in</a>` : null}<//>` : null}
    ${(reasons ?? []).map((reason) => html`<${Notice} key=${reason} tone="bad">${reason}<//>`)}
    ${(alerts ?? []).map((alert) => html`<${Notice} key=${alert.id ?? JSON.stringify(alert)} tone=${alert.severity === "page" ? "bad" : "warn"}>${alert.summary ?? alert.text ?? alert.budget}<//>`)}
    ${[...said].map(([alarm, names]) => html`<${Notice} key=${alarm} tone="warn"><a href=${to("zone", names[0])}>${names.length === 1 ? names[0] : `${names.length} zones`}</a>: ${alarm}<//>`)}
  </div>`;
}

/** One chart is renewed each second, several take turns. */
function ZonePanel({ store, zone, stale, turns, turn }) {
  const { tone, word, help } = zoneBand(zone);
  const aside = html`<${State} tone=${tone} title=${help}>${word}<//> · ${many(zone.nodes, "node")}${zone.capped ? `, ${count(zone.capped)} at their cap` : ""}`;
  return html`<div class=${stale ? "stale" : ""}>
    <${Panel} id=${`zone-${zone.zone}`} title=${html`<a href=${to("zone", zone.zone)}>${zone.zone}</a>`} aside=${aside}>
      ${stale ? html`<span class="stale-why">old: ${stale}</span>` : null}
      <${ZoneChart} store=${store} zone=${zone} every_s=${turns > 2 ? 2 : 1} turn=${turn} />
    <//>
  </div>`;
}

function Intensities({ store }) {
  const grids = useStore(store, (all) => all.collector?.grids);
  const { data } = useAsked("/api/v1/forecasts", FORECAST_S);
  const made = (data?.forecasts ?? []).filter((one) => one.kind === "grid");
  if (!grids?.length) return null;
  return grids.slice(0, 3).map((grid) => html`<${Panel} key=${grid.grid} id=${`grid-${grid.grid}`} title=${`Intensity of ${grid.grid}`}
      aside=${`${intensity(grid.intensity_g_per_kwh)} now, ${standing(grid.standing)}, from ${grid.source}`}>
      <${Ahead} store=${store} grid=${grid} forecast=${made.find((one) => one.name === grid.grid)} />
    <//>`);
}

/** Where there is no forecast of the collector's own, the provider's counts. */
function Ahead({ store, grid, forecast }) {
  const provided = !forecast && grid.forecast_until_s;
  const { data } = useAsked(provided ? `/emissions/forecasts/current?location=${encodeURIComponent(grid.grid)}` : null, FORECAST_S);
  const points = data?.[0]?.forecastData;
  return html`<${IntensityChart} store=${store} grid=${grid} forecast=${forecast ?? (points?.length ? asForecast(points) : null)} />`;
}

/** Points of the Carbon Aware API as a forecast that has no band. */
function asForecast(points) {
  const start_s = Date.parse(points[0].timestamp) / 1000;
  const step_s = points.length > 1 ? Date.parse(points[1].timestamp) / 1000 - start_s : 3600;
  return { start_s, step_s, quantiles: { 0.5: points.map((point) => point.value) } };
}

function Workloads({ store }) {
  const workloads = useStore(store, (all) => all.workloads);
  const stale = useStore(store, (all) => fleetStale(outermost(all.zones), all.connection));
  return html`<${Panel} id="workloads" title="Who draws most">
    <${Table} caption="Workloads by power" rows=${[...workloads.values()]} keyOf=${(row) => row.workload} href=${(row) => to("work", row.workload)} sort=${{ key: "power", down: true }}
      rowClass=${() => (stale ? "stale" : "")}
      empty="No node tells who draws its power." columns=${WORKLOADS} />
  <//>`;
}

const WORKLOADS = [
  { key: "workload", title: "Workload", value: (row) => row.workload },
  { key: "power", title: "Power", number: true, value: (row) => row.power_w, cell: (row) => watts(row.power_w) },
  { key: "grams", title: "Emits", number: true, value: (row) => row.emissions_g_per_h, cell: (row) => gramsPerHour(row.emissions_g_per_h) },
  { key: "nodes", title: "Nodes", number: true, value: (row) => row.nodes },
];

function Events({ store }) {
  const events = useStore(store, (all) => all.events);
  const latest = useMemo(() => together([...events].reverse()).slice(0, EVENTS), [events]);
  return html`<${Panel} id="events" title="What happened" aside=${html`<a href="#/decisions">Decisions with their reasons</a>`}>
    ${latest.length ? html`<ul class="list">${latest.map(({ event, nodes }) => html`<li key=${`${event.wall_ms} ${event.node} ${event.name} ${event.subject}`}>
      <time datetime=${new Date(event.wall_ms).toISOString()}>${clock(event.wall_ms)}</time>${nodes > 1
        ? html`<a href=${to("zone", event.zone)}>${many(nodes, "node")}</a> ${event.name.replaceAll("-", " ")}`
        : html`<a href=${to("node", event.zone, event.node)}>${event.node}</a> ${eventWords(event)}`}</li>`)}</ul>`
      : html`<${Empty}>Nothing has happened since the collector started.<//>`}
  <//>`;
}
