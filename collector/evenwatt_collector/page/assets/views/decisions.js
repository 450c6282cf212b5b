// What was decided, as it happens, each with its whole explanation.

import { html, useEffect, useRef, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { JobReason, Place, PowerReason } from "/page/lib/explanation.js";
import { clock, count, day, many, moment } from "/page/lib/format.js";
import { Empty, Notice, State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { same, useStore } from "/page/lib/store.js";

export const title = "Decisions";

const KEPT = 600;
const PAGE = 60;

/** Kinds as they are told: [word, tone]. */
const KINDS = {
  band: ["zone", "note"], cap: ["cap", "note"], pause: ["pause", "warn"], resume: ["resume", "good"], lease: ["lease", "warn"],
  plan: ["plan", "note"], shift: ["shift", "warn"], start: ["start", "good"], stop: ["stop", "warn"], end: ["end", "off"],
  tune: ["learned cap", "note"], variant: ["variant", "note"], policy: ["policy", "warn"], action: ["action", "warn"],
  alert: ["alert", "bad"], more: ["more", "off"],
};

const GROUPS = {
  all: ["All", null],
  power: ["Power", ["band", "cap", "lease", "tune"]],
  pauses: ["Pauses", ["pause", "resume"]],
  jobs: ["Jobs", ["plan", "shift", "start", "stop", "end"]],
  models: ["Models", ["variant"]],
  rules: ["Rules and people", ["policy", "action"]],
  alerts: ["Alerts", ["alert", "more"]],
};

export function View({ store }) {
  const [items, error, older] = useDecisions(store);
  const zones = useStore(store, (all) => [...all.zones.keys()].sort(), same);
  const connection = useStore(store, (all) => all.connection);
  const [group, setGroup] = useState("all");
  const [zone, setZone] = useState("");
  const [held, setHeld] = useState(null);
  const [open, setOpen] = useState(() => new Set());
  const [most, setMost] = useState(PAGE);
  const kinds = GROUPS[group][1];
  const wanted = (held ?? items).filter((one) => (!kinds || kinds.includes(one.kind)) && (!zone || !one.zone || one.zone === zone));
  const missed = held ? items.findIndex((one) => one.id === held[0]?.id) : 0;
  const toggle = (id) => setOpen((before) => new Set(before.has(id) ? [...before].filter((one) => one !== id) : [...before, id]));
  const more = () => {
    setMost(most + PAGE);
    if (wanted.length < most + PAGE) older();
  };
  return html`<h1>Decisions</h1>
    <p class="lead">What the collector and the nodes decide, as it happens. Open a line for the numbers behind it, what else there was, and what would change it.</p>
    <div class="toolbar">
      <div class="switch" role="group" aria-label="Kinds">${Object.entries(GROUPS).map(([name, [words]]) => html`<button key=${name} type="button"
        aria-pressed=${group === name} onClick=${() => setGroup(name)}>${words}</button>`)}</div>
      ${zones.length > 1 ? html`<label class="inline">Zone <select value=${zone} onChange=${(event) => setZone(event.target.value)}>
        <option value="">every zone</option>${zones.map((name) => html`<option key=${name}>${name}</option>`)}</select></label>` : null}
      <button type="button" class="push" aria-pressed=${held !== null} onClick=${() => setHeld(held ? null : items)}>${held ? "Go on" : "Pause"}</button>
      <p class="quiet" role="status">${status(held, missed, connection)}</p>
    </div>
    ${error ? html`<${Notice} tone="warn">${error}<//>` : null}
    ${wanted.length
      ? html`<ol class="decisions">${wanted.slice(0, most).map((one, i) => html`<${Line} key=${one.id} one=${one} open=${open.has(one.id)} toggle=${toggle}
          heading=${heading(wanted[i - 1], one)} />`)}</ol>`
      : html`<${Empty}>${items.length ? "Nothing of this kind was decided lately." : "Nothing was decided since the collector started: no zone is short, and no job waits."}<//>`}
    ${wanted.length > most || wanted.length >= PAGE ? html`<p><button type="button" onClick=${more}>Show older ones</button></p>` : null}`;
}

function status(held, missed, connection) {
  if (held) return missed > 0 ? `Paused: ${count(missed)} new since then.` : missed < 0 ? "Paused: many new since then." : "Paused: nothing new since then.";
  return connection.state === "live" ? "Live." : "Old: no connection to the collector.";
}

/** A day is told where it changes. */
function heading(before, one) {
  const now = day(one.wall_s * 1000);
  return !before || day(before.wall_s * 1000) !== now ? now : "";
}

function Line({ one, open, toggle, heading }) {
  const [word, tone] = KINDS[one.kind] ?? [one.kind, "off"];
  const id = `why-${one.id}`;
  const explained = Boolean(one.job || one.nodes?.length || (one.zone && one.kind !== "alert"));
  const what = html`<time datetime=${new Date(one.wall_s * 1000).toISOString()} title=${moment(one.wall_s * 1000)}>${clock(one.wall_s * 1000)}</time>
    <span class="kind"><${State} tone=${tone}>${word}<//></span>
    <span class="zone">${one.zone || "everywhere"}</span>
    <span class="words">${one.words}</span>`;
  return html`<li>${heading ? html`<h2 class="day">${heading}</h2>` : null}
    ${explained ? html`<button type="button" class="line" aria-expanded=${open} aria-controls=${id} onClick=${() => toggle(one.id)}>${what}</button>` : html`<div class="line">${what}</div>`}
    ${open ? html`<div class="opened" id=${id}><${Explanation} one=${one} /></div>` : null}
  </li>`;
}

/** The whole reason: of a job, or of the zone and each of the nodes that are named. */
function Explanation({ one }) {
  const names = one.job ? [] : [...(one.nodes ?? []).length === 1 ? one.nodes : [`${one.zone}:`, ...(one.nodes ?? [])]];
  const [name, setName] = useState(names[0]);
  if (one.job) {
    return html`<p class="links"><a href=${to("work", "job", one.job)}>All about ${one.name || "this job"}</a>${(one.nodes ?? []).map((node) => html` · <${Place} key=${node} name=${node} />`)}</p>
      <${JobReason} id=${one.job} />`;
  }
  return html`
    ${names.length > 1 ? html`<div class="switch small" role="group" aria-label="Of what">${names.map((full) => html`<button key=${full} type="button"
      aria-pressed=${name === full} onClick=${() => setName(full)}>${full.endsWith(":") ? `zone ${full.slice(0, -1)}` : full.slice(full.indexOf(":") + 1)}</button>`)}
      ${one.count > names.length - 1 ? html`<span class="quiet">and ${many(one.count - names.length + 1, "more node")}</span>` : null}</div>` : null}
    <p class="links"><${Place} name=${name} /></p>
    <${PowerReason} key=${name} name=${name} at_s=${one.wall_s} />`;
}

/** Return [decisions, what went wrong, a function that asks for older ones], the newest first. */
function useDecisions(store) {
  const [items, setItems] = useState([]);
  const [error, setError] = useState("");
  const cursor = useRef();
  const live = useStore(store, (all) => all.connection.state === "live");
  const take = (more) => setItems((before) => merged(before, more));
  useEffect(() => store.on("decisions", (one) => take([one])), [store]);
  useEffect(() => {
    if (!live) return;
    ask("").then(([found, next]) => {
      cursor.current ??= next;
      take(found);
    }, (trouble) => setError(trouble.message));
  }, [live]);
  const older = () => {
    if (!cursor.current) return;
    ask(cursor.current).then(([found, next]) => {
      cursor.current = next ?? "";
      take(found);
    }, (trouble) => setError(trouble.message));
  };
  return [items, error, older];
}

async function ask(cursor) {
  const { decisions, next } = await getJson(`/api/v1/decisions?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  return [decisions, next];
}

function merged(before, more) {
  const known = new Set(before.map((one) => one.id));
  const fresh = more.filter((one) => !known.has(one.id));
  if (!fresh.length) return before;
  return [...fresh, ...before].sort((a, b) => b.wall_s - a.wall_s || serial(b) - serial(a)).slice(0, KEPT);
}

const serial = (one) => Number(one.id.split("-")[1]);
