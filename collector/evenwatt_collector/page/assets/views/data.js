// Data quality: what is known, how well, what is missing, and whether those who keep the account are well.

import { html } from "/page/vendor/htm-preact.js";
import { Empty, Facts, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { NONE, count, duration, many, moment, percent } from "/page/lib/format.js";
import { to } from "/page/lib/router.js";
import { same, useStore } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { ago, nodeState, quality, standing } from "/page/lib/words.js";

export const title = "Data quality";

export function View({ store }) {
  const collector = useStore(store, (all) => all.collector);
  const connection = useStore(store, (all) => all.connection);
  const nodes = useStore(store, tally, (a, b) => JSON.stringify(a) === JSON.stringify(b));
  if (!collector) return html`<h1>Data quality</h1><p class="loading" role="status">${connection.state === "connecting" ? "Connecting…" : "The collector cannot be reached."}</p>`;
  const { ledger, messages } = collector;
  const whole = ledger.records + ledger.missing;
  const stale = connection.state === "live" ? "" : "no connection to the collector";
  return html`<h1>Data quality</h1>
    ${collector.reasons.map((reason) => html`<${Notice} key=${reason} tone="bad">${reason}<//>`)}
    <dl class="figures">
      <${Figure} name="Records kept" value=${count(ledger.records)} stale=${stale} note=${ledger.missing ? `${count(ledger.missing)} missing` : "none missing"} tone=${ledger.missing ? "warn" : ""} />
      <${Figure} name="Coverage" value=${whole ? percent(ledger.records / whole, ledger.missing ? 2 : 0) : NONE} stale=${stale} note="of the records that nodes have numbered" />
      <${Figure} name="Live windows lost" value=${messages.sent ? percent(messages.lost / messages.sent, messages.lost ? 3 : 0) : NONE} stale=${stale} note=${`${count(messages.lost)} of ${count(messages.sent)}; no energy is lost with them`} />
      <${Figure} name="Waiting on nodes" value=${count(nodes.spooled)} stale=${stale} note=${nodes.spooled ? `records on ${many(nodes.spooling, "node")} that the collector does not have yet` : "the collector has every record"} />
      <${Figure} name="Measured" value=${nodes.watts ? percent(nodes.measured_w / nodes.watts) : NONE} stale=${stale} note="of the power now; the rest is estimated or not known" />
    </dl>
    <div class="flow">
      <${Panel} id="quality" title="How nodes know their power"><${Qualities} nodes=${nodes} /><//>
      <${Panel} id="account" title="The account">
        <${Facts} rows=${[
          ["Records", count(ledger.records)],
          ["Missing", count(ledger.missing)],
          ["Came twice, counted once", count(ledger.duplicate)],
          ["In conflict", flagged(ledger.conflicts)],
          ["Waiting to be written", count(collector.store.waiting)],
          ["Refused", flagged(collector.store.refused)],
          ["Database", collector.store.alarm ? html`<${State} tone="bad">${collector.store.alarm}<//>` : html`<${State} tone="good">writes<//>`],
        ]} />
      <//>
      <${Panel} id="broker" title="Broker and collector">
        <${Facts} rows=${[
          ["Broker", html`<span class="mono">${collector.broker.where}</span>`],
          ["Connection", collector.broker.connected ? html`<${State} tone="good">stands<//>` : html`<${State} tone="bad">is down<//>`],
          ["Connections made", count(collector.broker.connections)],
          ["Collector", `${collector.name ? `${collector.name}, ` : ""}${collector.role}, epoch ${collector.epoch}`],
          ["Version", collector.version],
          ["Its clock and this one", clocks(store)],
          ["Caps answered within", collector.caps.answer_p95_s === null ? NONE : `${duration(collector.caps.answer_p95_s)} (95 %)`],
          ["Caps rejected or clamped", `${count(collector.caps.rejected)} and ${count(collector.caps.clamped)} of ${count(collector.caps.sent)}`],
        ]} />
      <//>
      <${Panel} id="sources" title="Where intensities come from"><${Sources} store=${store} grids=${collector.grids} /><//>
      <${Panel} id="messages" title="Messages"><${Table} caption="Messages by kind and what became of them" columns=${MESSAGES} rows=${messages.by_kind} keyOf=${(row) => `${row.kind} ${row.result}`}
        sort=${{ key: "count", down: true }} empty="Nothing has come yet." /><//>
    </div>
    <${Panel} id="wrong" title="Nodes to look at" aside=${many(nodes.wrong.length, "node")}>
      <${Table} caption="Nodes with something wrong" columns=${WRONG} rows=${nodes.wrong} keyOf=${(row) => `${row.zone}:${row.node}`} href=${(row) => to("node", row.zone, row.node)} empty="Every node is heard, and none of its records is missing." />
    <//>`;
}

const flagged = (number) => (number ? html`<${State} tone="bad">${count(number)}<//>` : "0");

function clocks(store) {
  const off_s = (store.now() - Date.now()) / 1000;
  return Math.abs(off_s) < 2 ? "agree" : html`<${State} tone="warn">${duration(Math.abs(off_s))} apart<//>`;
}

/** What all nodes come to. Ages are left out, so that it changes only when something happens. */
function tally(state) {
  const found = { by: {}, spooled: 0, spooling: 0, watts: 0, measured_w: 0, wrong: [] };
  for (const node of state.nodes.values()) {
    const { tone, word } = nodeState(node);
    const group = (found.by[node.quality] ??= { quality: node.quality, nodes: 0, watts: 0 });
    group.nodes += 1;
    if (tone !== "bad" && node.power_w !== null) {
      group.watts += Math.round(node.power_w);
      found.watts += Math.round(node.power_w);
      if (node.quality === "measured" || node.quality === "integrated") found.measured_w += Math.round(node.power_w);
    }
    if (node.spooled) {
      found.spooled += node.spooled;
      found.spooling += 1;
    }
    const wrong = [tone === "bad" || tone === "warn" ? word : "", node.missing ? `${many(node.missing, "record")} missing` : "", node.quality === "unknown" && tone === "good" ? "power not known" : ""].filter(Boolean);
    if (wrong.length) found.wrong.push({ zone: node.zone, node: node.node, tone, what: wrong.join(", "), missing: node.missing, spooled: node.spooled, lost: node.lost });
  }
  return found;
}

function Qualities({ nodes }) {
  return html`<${Table} caption="Nodes by how they know their power" columns=${QUALITIES} rows=${Object.values(nodes.by)} keyOf=${(row) => row.quality} sort=${{ key: "nodes", down: true }} empty="No node has been heard of yet." />`;
}

const QUALITIES = [
  { key: "quality", title: "Known as", value: (row) => row.quality, cell: (row) => html`<${State} tone=${quality(row.quality).tone}>${quality(row.quality).word}<//>` },
  { key: "nodes", title: "Nodes", number: true, value: (row) => row.nodes, cell: (row) => count(row.nodes) },
  { key: "watts", title: "Watts now", number: true, value: (row) => row.watts, cell: (row) => count(row.watts) },
  { key: "help", title: "Means", minor: true, wrap: true, value: (row) => quality(row.quality).help },
];

function Sources({ store, grids }) {
  if (!grids?.length) return html`<${Empty}>No source is set: yearly averages of the settings count.<//>`;
  const rows = grids.flatMap((grid) => grid.sources.map((source) => ({ ...source, grid: grid.grid, speaking: grid.speaking, standing: grid.standing })));
  return html`${grids.filter((grid) => grid.alarm).map((grid) => html`<${Notice} key=${grid.grid} tone="warn">${grid.grid}: ${grid.alarm}<//>`)}
    <ul class="list">${rows.map((row) => html`<li key=${`${row.grid} ${row.source}`}><b>${row.grid}</b> ${row.source} (${row.kind}) ${row.speaking === row.source ? html`<${State} tone="good">counts now<//>` : null}
      <span class="quiet"> ${standing(row.standing)}, newest of ${row.newest_s === null ? NONE : moment(row.newest_s * 1000)}, asked ${row.last_asked_s === null ? NONE : ago(store.now() / 1000 - row.last_asked_s)}, ${many(row.readings, "reading")}</span>
      ${row.trouble ? html` <${State} tone="warn">${row.trouble}<//>` : null}
      ${row.clock_off_s ? html` <${State} tone="warn">its clock is ${duration(Math.abs(row.clock_off_s))} off<//>` : null}</li>`)}</ul>`;
}

const MESSAGES = [
  { key: "kind", title: "Kind", value: (row) => row.kind },
  { key: "result", title: "What became of it", value: (row) => row.result, cell: (row) => (["ok", "retained"].includes(row.result) ? row.result : html`<${State} tone="warn">${row.result}<//>`) },
  { key: "count", title: "Count", number: true, value: (row) => row.count, cell: (row) => count(row.count) },
];

const WRONG = [
  { key: "node", title: "Node", value: (row) => row.node },
  { key: "zone", title: "Zone", value: (row) => row.zone, minor: true },
  { key: "what", title: "What is wrong", value: (row) => row.what, cell: (row) => html`<${State} tone=${row.tone === "good" ? "warn" : row.tone}>${row.what}<//>` },
  { key: "missing", title: "Missing", number: true, minor: true, value: (row) => row.missing, cell: (row) => count(row.missing) },
  { key: "spooled", title: "Waiting there", number: true, minor: true, value: (row) => row.spooled, cell: (row) => count(row.spooled) },
  { key: "lost", title: "Windows lost", number: true, minor: true, value: (row) => row.lost, cell: (row) => count(row.lost) },
];
