// Nodes in a table: of one zone, or of the fleet.

import { html } from "/page/vendor/htm-preact.js";
import { Bar, State } from "/page/lib/parts.js";
import { energy, gramsPerHour, watts } from "/page/lib/format.js";
import { to } from "/page/lib/router.js";
import { nodeStale } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { ago, nodeState, nodeWatts, quality } from "/page/lib/words.js";

export function NodeTable({ rows, connection, zoned = false, caption }) {
  const columns = zoned ? COLUMNS : COLUMNS.filter((column) => column.key !== "zone");
  return html`<${Table} caption=${caption} columns=${columns} rows=${rows} keyOf=${(row) => `${row.zone}:${row.node}`} href=${(row) => to("node", row.zone, row.node)}
    sort=${{ key: "power", down: true }} rowClass=${(row) => (nodeStale(row, connection) ? "stale" : "")} empty="No node has been heard of yet." />`;
}

const COLUMNS = [
  { key: "node", title: "Node", value: (row) => row.node },
  { key: "zone", title: "Zone", value: (row) => row.zone, minor: true },
  { key: "state", title: "State", value: (row) => nodeState(row).word, cell: stateCell },
  { key: "power", title: "Power", number: true, value: (row) => row.power_w, cell: nodeWatts },
  { key: "bar", title: "Of its most", minor: true, value: (row) => share(row), cell: barCell, help: "Power as a part of the most the node can draw; the red mark is its cap" },
  { key: "cap", title: "Cap", number: true, value: (row) => row.cap_w, cell: (row) => watts(row.cap_w) },
  { key: "lease", title: "Lease", minor: true, value: (row) => row.lease, cell: (row) => leaseCell(row) },
  { key: "grams", title: "Emits", number: true, minor: true, value: (row) => row.emissions_g_per_h, cell: (row) => gramsPerHour(row.emissions_g_per_h) },
  { key: "energy", title: "Counted", number: true, minor: true, value: (row) => row.energy_j, cell: (row) => energy(row.energy_j), help: "Energy of stored records" },
  { key: "quality", title: "Known as", minor: true, value: (row) => row.quality, cell: (row) => quality(row.quality).word },
  { key: "age", title: "Heard", number: true, minor: true, value: (row) => row.age_s, cell: (row) => ago(row.age_s) },
];

const most_w = (row) => row.ceiling_w || row.cap_w || row.peak_w;
const share = (row) => (row.power_w !== null && most_w(row) ? row.power_w / most_w(row) : null);

function barCell(row) {
  return html`<${Bar} power_w=${row.power_w} cap_w=${row.cap_w} most_w=${most_w(row)} stale=${row.silent || row.state === "lost"} />`;
}

function stateCell(row) {
  const { tone, word } = nodeState(row);
  return html`<${State} tone=${tone}>${word}<//>`;
}

function leaseCell(row) {
  if (!row.lease || row.lease === "unmanaged") return html`<span class="quiet">none</span>`;
  return row.lease_by === "operator" ? `${row.lease}, operator` : row.lease;
}
