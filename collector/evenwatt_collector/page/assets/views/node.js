// One node, down to a single counter: what it draws, what holds it, who draws it, and how each figure is known.

import { html, useEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { Actions } from "/page/lib/actions.js";
import { getJson } from "/page/lib/api.js";
import { Chart } from "/page/lib/chart.js";
import { PowerReason } from "/page/lib/explanation.js";
import { NONE, clock, count, duration, energy, grams, gramsPerHour, joules, many, watts } from "/page/lib/format.js";
import { Bar, Empty, Facts, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { nodeStale, useStore } from "/page/lib/store.js";
import { Table } from "/page/lib/table.js";
import { ago, eventWords, leaseWords, nodeState, nodeWatts, quality } from "/page/lib/words.js";

export const title = "Node";

const EVENTS = 10;
const SHORTEST_S = 20;

export function View({ store, params }) {
  const [zone, name] = params;
  const key = `${zone}:${name}`;
  const node = useStore(store, (all) => all.nodes.get(key));
  const connection = useStore(store, (all) => all.connection);
  const { detail, trouble } = useDetail(zone, name, node, connection.state);
  useEffect(() => {
    document.title = `${name} · node · evenwatt`;
  }, [key]);
  const crumbs = html`<p class="crumbs"><a href="#/zones">Zones</a> / <a href=${to("zone", zone ?? "")}>${zone}</a> / ${name}</p>`;
  if (!node) {
    const why = connection.state === "connecting" ? "Connecting…" : `No node "${name ?? ""}" has been heard of in zone "${zone ?? ""}".`;
    return html`${crumbs}<h1>${name ?? "Node"}</h1><${Empty}>${why}<//>`;
  }
  const stale = nodeStale(node, connection);
  const { tone, word } = nodeState(node);
  return html`${crumbs}
    <h1>${name} <${State} tone=${tone}>${word}<//></h1>
    <${Actions} zone=${node.zone} node=${node.node} />
    ${stale ? html`<${Notice} tone=${node.state === "disconnected" ? "note" : "bad"}>What is shown is old: ${stale}. It was last heard ${ago(node.age_s)}.<//>` : null}
    ${node.two_agents ? html`<${Notice} tone="warn">Two agents use this name: stop one, or give it another name.<//>` : null}
    ${trouble && !detail ? html`<${Notice} tone="warn">${trouble}<//>` : null}
    <div class=${stale ? "stale" : ""}>
      <${Figures} node=${node} stale=${stale} />
      <${Panel} id="power" title="Power, last three minutes"><${Recent} store=${store} node=${node} name=${key} /><//>
      <${Counters} detail=${detail} />
      <div class="flow">
        <${Lease} node=${node} detail=${detail} />
        <${Panel} id="why" title="Why it is so"><${Why} node=${node} name=${key} /><//>
        <${Work} store=${store} node=${node} detail=${detail} />
        <${About} node=${node} detail=${detail} />
        <${Events} store=${store} zone=${zone} name=${name} />
      </div>
    </div>`;
}

/** Ask for the details again whenever the pulse says something new of the node; a slow answer counts until a newer one comes. */
function useDetail(zone, name, node, connected) {
  const path = `/api/v1/nodes/${encodeURIComponent(zone)}/${encodeURIComponent(name)}`;
  const [told, setTold] = useState({ path, detail: null, trouble: "" });
  const asked = useRef(0);
  const newest = useRef(0);
  useEffect(() => {
    if (!node) return;
    const number = ++asked.current;
    const tell = (change) => {
      if (number < newest.current) return;
      newest.current = number;
      setTold((before) => ({ ...(before.path === path ? before : { detail: null }), path, ...change }));
    };
    getJson(path).then(
      (detail) => tell({ detail, trouble: "" }),
      (error) => tell({ trouble: error.message }),
    );
  }, [path, node, connected]);
  return told.path === path ? told : { detail: null, trouble: "" };
}

function Figures({ node, stale }) {
  const most_w = node.ceiling_w || node.cap_w || node.peak_w;
  return html`<dl class="figures">
    <${Figure} name="Power now" value=${nodeWatts(node)} stale=${stale}
      note=${html`peak of ten seconds ${watts(node.peak_w)}<${Bar} power_w=${node.power_w} cap_w=${node.cap_w} most_w=${most_w} stale=${Boolean(stale)} />`} />
    <${Figure} name="Cap" value=${watts(node.cap_w)} stale=${stale} note=${leaseWords(node)} />
    <${Figure} name="Emissions" value=${gramsPerHour(node.emissions_g_per_h)} stale=${stale} note=${`${grams(node.emissions_g)} counted`} />
    <${Figure} name="Energy counted" value=${energy(node.energy_j)} stale=${stale} note=${`${many(node.records, "record")}${node.missing ? `, ${count(node.missing)} missing` : ", none missing"}`} />
    <${Figure} name="Known as" value=${quality(node.quality).word} stale=${stale} note=${quality(node.quality).help} />
  </dl>`;
}

function Recent({ store, node, name }) {
  const { power_w, cap_w } = useMemo(() => store.nodeRing(name).list(), [node]);
  const now_s = Math.round(store.now() / 1000);
  const x = power_w.map((_, i) => now_s - (power_w.length - 1 - i));
  const series = [{ label: "Power", values: power_w, colour: "power", width: 1.8, fill: true }];
  if (node.cap_w !== null) series.push({ label: "Cap", values: cap_w, colour: "budget", dash: [6, 4], width: 1.4, stepped: true });
  const first = Math.max(0, power_w.findIndex((value) => value !== null));
  const from_s = Math.min(x[first], now_s - SHORTEST_S);
  return html`<${Chart} title=${`Power of ${node.node}, last three minutes`} x=${x} series=${series} format=${watts} height=${170} range=${[from_s, now_s]} />`;
}

function Counters({ detail }) {
  if (!detail) return html`<${Panel} id="counters" title="Counters"><p class="loading" role="status">Loading…</p><//>`;
  const rows = tree(detail.counters);
  return html`<${Panel} id="counters" title="Counters" aside=${detail.total_formula ? html`the node is <span class="mono">${detail.total_formula}</span>` : null}>
    <${Table} caption="Counters of this node, those inside others below them" columns=${COUNTERS} rows=${rows} keyOf=${(row) => row.id} sort=${{ key: "place", down: false }}
      empty="This node has no counter: its power is estimated from use." />
  <//>`;
}

/** Return counters so that each stands below the one it is a part of, with how deep it is and its place. */
function tree(counters) {
  const known = new Set(counters.map((one) => one.id));
  const below = (parent) => counters.filter((one) => (known.has(one.parent) ? one.parent : null) === parent);
  const found = [];
  const walk = (parent, depth) => {
    for (const one of below(parent)) {
      if (depth > 8) return;
      found.push({ ...one, depth, place: found.length });
      walk(one.id, depth + 1);
    }
  };
  walk(null, 0);
  return found;
}

const COUNTERS = [
  { key: "place", title: "Counter", value: (row) => row.place, cell: (row) => html`<span class=${`depth-${row.depth}`}>${row.depth ? html`<span class="quiet" aria-hidden="true">└ </span>` : null}<span class="mono">${row.id}</span></span>` },
  { key: "kind", title: "Of", value: (row) => row.kind, minor: true },
  { key: "source", title: "Read by", value: (row) => row.source, minor: true },
  { key: "power", title: "Power", number: true, value: (row) => row.power_w, cell: (row) => watts(row.power_w) },
  { key: "span", title: "Least to most", number: true, minor: true, value: (row) => row.max_w, cell: (row) => (row.max_w === null ? NONE : `${watts(row.min_w)} – ${watts(row.max_w)}`), help: "Within the latest window" },
  { key: "total", title: "Since its start", number: true, value: (row) => row.total_j, cell: (row) => joules(row.total_j), help: "Energy since the agent started" },
  { key: "quality", title: "Known as", minor: true, value: (row) => row.quality, cell: (row) => html`<${State} tone=${quality(row.quality).tone} title=${quality(row.quality).help}>${row.quality}<//>` },
  { key: "in", title: "In the total", minor: true, value: (row) => (row.in_total ? 0 : 1), cell: (row) => (row.in_total ? "yes" : html`<span class="quiet">no</span>`) },
];

function Lease({ node, detail }) {
  const lease = detail?.lease;
  const knobs = detail?.actuators ?? [];
  return html`<${Panel} id="lease" title="Cap and lease">
    <${Facts} rows=${[
      ["Lease", leaseWords(node)],
      ["Cap, read back", watts(node.cap_w)],
      ["Ends in", lease && lease.state === "leased" ? duration(lease.remaining_s) : null],
      ["Epoch", lease && lease.state === "leased" ? lease.epoch : null],
      ["Number", lease && lease.state === "leased" ? lease.seq : null],
      ["Would get, in dry run", node.would_w === null ? null : watts(node.would_w)],
      ["Can be steered", node.controllable === null ? NONE : node.controllable ? "yes" : "no: it only measures"],
      ["Floor to most", `${watts(node.floor_w)} – ${watts(node.ceiling_w)}`],
      ["Falls back to", detail?.actuators && node.controllable ? watts(node.fallback_w ?? null) : null],
      ["Class and priority", [node.class, node.priority].filter((one) => one !== null && one !== undefined).join(", ") || NONE],
      ["Paused", node.paused?.length ? node.paused.join(", ") : "nothing"],
    ]} />
    ${knobs.length ? html`<h3>Devices that obey</h3><ul class="list">${knobs.map((one) => html`<li key=${one.id}><span class="mono">${one.id}</span> by ${one.kind}: ${watts(one.floor_w)} – ${watts(one.ceiling_w)}${one.locked ? ", locked" : ""}</li>`)}</ul>` : null}
  <//>`;
}

function Work({ store, node, detail }) {
  const jobs = useStore(store, (all) => all.jobs);
  const here = [...jobs.values()].filter((job) => job.node === node.node && job.zone === node.zone);
  const work = detail?.work ?? [];
  return html`<${Panel} id="work" title="Who draws it" aside=${detail?.summary?.tasks ? many(detail.summary.tasks, "task") : null}>
    ${work.length ? html`<${Table} caption="Work on this node by power" columns=${WORK} rows=${work} keyOf=${(row) => `${row.kind} ${row.name}`} sort=${{ key: "power", down: true }} />` : html`<${Empty}>The node does not tell who draws its power.<//>`}
    ${here.length ? html`<h3>Jobs</h3><ul class="list">${here.map((job) => html`<li key=${job.id}><a href=${to("work", job.workload)}>${job.name}</a> ${job.state}, ${energy(job.energy_j)}</li>`)}</ul>` : null}
  <//>`;
}

const WORK = [
  { key: "name", title: "Name", value: (row) => row.name },
  { key: "kind", title: "Is a", value: (row) => row.kind },
  { key: "power", title: "Power", number: true, value: (row) => row.power_w, cell: (row) => watts(row.power_w) },
];

function Why({ node, name }) {
  if (!node.controllable) return html`<${Empty}>This node is not steered: it only measures.<//>`;
  return html`<${PowerReason} name=${name} />`;
}

function About({ node, detail }) {
  const total = detail?.total;
  return html`<${Panel} id="about" title="The agent">
    <${Facts} rows=${[
      ["Version", detail?.version],
      ["Boot", detail ? html`<span class="mono">${detail.boot}</span>` : null],
      ["Heard", ago(node.age_s)],
      ["Latest window", total ? `${clock(total.wall_ms)}, ${duration(total.duration_s)}, ${many(total.samples, "sample")}, ${count(total.late)} late` : null],
      ["Windows lost on the way", count(node.lost)],
      ["Records waiting on the node", node.spooled === null ? NONE : count(node.spooled)],
      ["Costs", node.agent_cpu_pct === null ? NONE : `${node.agent_cpu_pct.toFixed(1)} % of a core, ${node.agent_rss_mb.toFixed(0)} MB`],
      ["Record every", detail?.ledger_s ? duration(detail.ledger_s) : null],
    ]} />
  <//>`;
}

function Events({ store, zone, name }) {
  const events = useStore(store, (all) => all.events);
  const here = events.filter((event) => event.zone === zone && event.node === name).slice(-EVENTS).reverse();
  return html`<${Panel} id="events" title="What happened here">
    ${here.length ? html`<ul class="list">${here.map((event, i) => html`<li key=${`${event.wall_ms} ${i}`}><time datetime=${new Date(event.wall_ms).toISOString()}>${clock(event.wall_ms)}</time>${eventWords(event)}</li>`)}</ul>` : html`<${Empty}>Nothing that is still remembered.<//>`}
  <//>`;
}
