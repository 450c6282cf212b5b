// Zones, and all nodes of the fleet.

import { html } from "/page/vendor/htm-preact.js";
import { count, gramsPerHour, intensity, many, watts } from "/page/lib/format.js";
import { NodeTable } from "/page/lib/node_table.js";
import { Bar, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { useStore, zoneStale } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { zoneBand } from "/page/lib/words.js";

export const title = "Zones and nodes";

export function View({ store }) {
  const zones = useStore(store, (all) => all.zones);
  const nodes = useStore(store, (all) => all.nodes);
  const connection = useStore(store, (all) => all.connection);
  return html`<h1>Zones and nodes</h1>
    <${Panel} id="zones" title="Zones" aside=${many(zones.size, "zone")}>
      <${Table} caption="Zones" columns=${COLUMNS} rows=${[...zones.values()]} keyOf=${(row) => row.zone} href=${(row) => to("zone", row.zone)}
        rowClass=${(row) => (zoneStale(row, connection) ? "stale" : "")} empty="No zone has been heard of yet." />
    <//>
    <${Panel} id="nodes" title="Nodes" aside=${many(nodes.size, "node")}>
      <${NodeTable} caption="All nodes" rows=${[...nodes.values()]} connection=${connection} zoned=${true} />
    <//>`;
}

const COLUMNS = [
  { key: "zone", title: "Zone", value: (row) => row.zone, cell: zoneCell },
  { key: "band", title: "State", value: (row) => row.band, cell: bandCell },
  { key: "power", title: "Power", number: true, value: (row) => row.power_w, cell: (row) => watts(row.power_w) },
  { key: "bar", title: "Of its budget", minor: true, value: (row) => (row.budget_w ? row.power_w / row.budget_w : null), cell: barCell },
  { key: "budget", title: "Budget", number: true, value: (row) => row.budget_w, cell: (row) => watts(row.budget_w) },
  { key: "leased", title: "Caps and the rest", number: true, minor: true, value: (row) => row.leased_w, cell: (row) => watts(row.leased_w), help: "The most it can draw with the caps in force" },
  { key: "grams", title: "Emits", number: true, minor: true, value: (row) => row.emissions_g_per_h, cell: (row) => gramsPerHour(row.emissions_g_per_h) },
  { key: "intensity", title: "Intensity", number: true, minor: true, value: (row) => row.intensity_g_per_kwh, cell: (row) => intensity(row.intensity_g_per_kwh) },
  { key: "nodes", title: "Nodes", number: true, minor: true, value: (row) => row.nodes, cell: (row) => count(row.nodes) },
  { key: "silent", title: "Silent", number: true, minor: true, value: (row) => row.silent, cell: silentCell },
  { key: "alarms", title: "Alarms", number: true, minor: true, value: (row) => row.alarms.length, cell: alarmsCell },
];

function zoneCell(row) {
  return row.inside?.length ? html`${row.zone} <span class="quiet">with ${row.inside.join(", ")}</span>` : row.zone;
}

function bandCell(row) {
  const { tone, word, help } = zoneBand(row);
  return html`<${State} tone=${tone} title=${help}>${word}<//>`;
}

function barCell(row) {
  if (row.budget_w === null) return html`<span class="quiet">none</span>`;
  return html`<${Bar} power_w=${row.power_w} cap_w=${row.budget_w} most_w=${row.budget_w * 1.08} stale=${row.linked === false} />`;
}

function silentCell(row) {
  return row.silent ? html`<${State} tone="bad">${count(row.silent)}<//>` : "0";
}

function alarmsCell(row) {
  return row.alarms.length ? html`<${State} tone="warn">${row.alarms.length}<//>` : "0";
}
