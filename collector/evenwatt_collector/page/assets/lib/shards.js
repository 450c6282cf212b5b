// The other shards of this fleet: which zones they have, whether anybody keeps them, and where their pages are.

import { html } from "/page/vendor/htm-preact.js";
import { Panel, State } from "/page/lib/parts.js";
import { useStore } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";

/** A panel; nothing where this collector has the fleet for itself. */
export function Shards({ store }) {
  const own = useStore(store, (all) => all.collector?.shard);
  const shards = useStore(store, (all) => all.collector?.shards);
  const others = (shards ?? []).filter((one) => one.name !== own);
  if (!others.length) return null;
  return html`<${Panel} id="shards" title="Other shards of this fleet" aside=${`this page shows shard ${own}`}>
    <${Table} caption="Other shards" columns=${COLUMNS} rows=${others} keyOf=${(row) => row.name} href=${(row) => pageOf(row.url)} />
  <//>`;
}

/** Where a shard's page is; nothing but the web is linked to, whatever its settings say. */
function pageOf(url) {
  try {
    const { protocol, href } = new URL(url);
    return protocol === "https:" || protocol === "http:" ? href : undefined;
  } catch {
    return undefined;
  }
}

const COLUMNS = [
  { key: "name", title: "Shard", value: (row) => row.name || "without a name" },
  { key: "state", title: "State", value: (row) => (row.connected ? "connected" : "silent"), cell: stateCell, help: "Whether a collector of it has a connection to the common database" },
  { key: "zones", title: "Its zones", wrap: true, value: (row) => row.zones.join(", ") },
  { key: "url", title: "Its page", minor: true, value: (row) => row.url, cell: (row) => (pageOf(row.url) ? html`<span class="mono">${row.url}</span>` : html`<span class="quiet">its settings name none</span>`) },
];

function stateCell(row) {
  return row.connected ? html`<${State} tone="good">at work<//>` : html`<${State} tone="bad">no collector<//>`;
}
