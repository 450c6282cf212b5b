// One zone: its power against its budget, why it is steered so, and its nodes.

import { html, useEffect, useState } from "/page/vendor/htm-preact.js";
import { Actions } from "/page/lib/actions.js";
import { PowerReason } from "/page/lib/explanation.js";
import { NONE, count, grams, gramsPerHour, intensity, many, percent, watts } from "/page/lib/format.js";
import { NodeTable } from "/page/lib/node_table.js";
import { Bar, Empty, Facts, Figure, Notice, Panel, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { useStore, zoneStale } from "/page/lib/store.js";
import { givenOut, over, standing, zoneBand } from "/page/lib/words.js";
import { ZoneChart } from "/page/lib/zone_chart.js";

export const title = "Zone";

const SPANS = [5, 15, 60];

export function View({ store, params }) {
  const [name] = params;
  const zone = useStore(store, (all) => all.zones.get(name));
  const nodes = useStore(store, (all) => all.nodes);
  const connection = useStore(store, (all) => all.connection);
  const [minutes, setMinutes] = useState(15);
  useEffect(() => {
    document.title = `${name} · zone · evenwatt`;
  }, [name]);
  if (!zone) {
    const why = connection.state === "connecting" ? "Connecting…" : `No zone "${name ?? ""}" has been heard of.`;
    return html`<p class="crumbs"><a href="#/zones">Zones</a></p><h1>${name ?? "Zone"}</h1><${Empty}>${why}<//>`;
  }
  const stale = zoneStale(zone, connection);
  const { tone, word, help } = zoneBand(zone);
  const inside = new Set([zone.zone, ...(zone.inside ?? [])]);
  const rows = [...nodes.values()].filter((node) => inside.has(node.zone));
  const budget = zone.budget_w;
  return html`<p class="crumbs"><a href="#/zones">Zones</a> / ${zone.zone}</p>
    <h1>${zone.zone} <${State} tone=${tone} title=${help}>${word}<//></h1>
    <${Actions} zone=${zone.zone} />
    ${zone.alarms.map((alarm) => html`<${Notice} key=${alarm} tone="warn">${alarm}<//>`)}
    <dl class="figures">
      <${Figure} name="Power now" value=${`${watts(zone.power_w)}${rows.some((node) => node.quality === "estimated" && node.power_w) ? "~" : ""}`} stale=${stale} tone=${budget !== null && zone.power_w > budget ? "bad" : ""}
        note=${budget === null ? "no budget" : html`${percent(zone.power_w / budget)} of ${watts(budget)}<${Bar} power_w=${zone.power_w} cap_w=${budget} most_w=${budget * 1.08} stale=${Boolean(stale)} />`} />
      <${Figure} name="Caps and the rest" value=${watts(zone.leased_w)} stale=${stale} tone=${over(zone.leased_w, budget) ? "warn" : ""} note=${budget === null ? "" : givenOut(zone.leased_w, budget)} />
      <${Figure} name="Emissions" value=${gramsPerHour(zone.emissions_g_per_h)} stale=${stale} note=${`${grams(zone.emissions_g)} counted so far`} />
      <${Figure} name="Intensity" value=${intensity(zone.intensity_g_per_kwh)} stale=${stale} note=${standing(zone.intensity_standing)} />
      <${Figure} name="Nodes" value=${count(zone.nodes)} stale=${stale} tone=${zone.silent ? "warn" : ""} note=${`${count(zone.silent)} silent, ${count(zone.capped)} at their cap`} />
    </dl>
    <${Panel} id="power" title="Power" aside=${html`<${Spans} minutes=${minutes} setMinutes=${setMinutes} />`}>
      <${ZoneChart} store=${store} zone=${zone} height=${260} minutes=${minutes} />
    <//>
    <div class="flow">
      <${Panel} id="why" title="Why it is so">
        ${zone.controlled ? html`<${PowerReason} name=${`${zone.zone}:`} />` : html`<${Empty}>This zone is not steered: it has no budget, or the collector has no key to sign caps with.<//>`}
      <//>
      <${Panel} id="facts" title="What it is">
        <${Facts} rows=${facts(zone)} />
      <//>
    </div>
    <${Panel} id="nodes" title="Nodes" aside=${many(rows.length, "node")}>
      <${NodeTable} caption=${`Nodes of ${zone.zone}`} rows=${rows} connection=${connection} zoned=${inside.size > 1} />
    <//>`;
}

function Spans({ minutes, setMinutes }) {
  return html`<span class="spans" role="group" aria-label="How far back">${SPANS.map((one) => html`<button key=${one} type="button" aria-pressed=${one === minutes ? "true" : "false"} onClick=${() => setMinutes(one)}>${one} min</button>`)}</span>`;
}

function facts(zone) {
  return [
    ["Budget", zone.budget_w === null ? "none" : watts(zone.budget_w)],
    ["It comes from", zone.budget_w === null ? null : zone.budget_why || "the settings"],
    ["Steered to", zone.target_w === null ? NONE : watts(zone.target_w)],
    ["Steering", zone.controlled ? (zone.dry_run ? "dry run: nothing is sent" : "on") : "off"],
    ["Not managed", zone.unmanaged_w ? `${watts(zone.unmanaged_w)} are reserved for what has no agent` : "nothing"],
    ["Zones inside", zone.inside?.length ? html`${zone.inside.map((one) => html`<a key=${one} href=${to("zone", one)}>${one}</a> `)}` : null],
    ["Intensity from", `${zone.intensity_source}${zone.intensity_year ? ` (average of ${zone.intensity_year})` : ""}`],
    ["Power usage effectiveness", zone.pue.toFixed(2)],
    ["Broker", zone.linked === false ? "no connection" : "connected"],
  ];
}
