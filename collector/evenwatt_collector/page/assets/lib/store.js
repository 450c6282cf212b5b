// What the collector has told, in one place: first the status document, then the stream.
//
// Rows are never changed in place: a changed row is a new object, and a topic with a changed row is a new Map, so that
// `===` says whether something is new. Views hear of changes once per animation frame, however many messages came.

import { useLayoutEffect, useReducer, useRef } from "/page/vendor/htm-preact.js";
import { getJson, parse } from "/page/lib/api.js";

const TOPICS = ["zones", "pulse", "workloads", "jobs", "events", "alerts", "collector"];
const KEYS = { zones: ["zone"], nodes: ["zone", "node"], workloads: ["workload"], jobs: ["id"] };
const EVENTS_KEPT = 300;
const SILENT_MS = 8_000; // the collector says something each second
const LONGEST_WAIT_MS = 15_000;
const RING = 800; // means; an hour has 720
const FINE_S = 120;
const COARSE_S = 5;
const NODE_RING = 180;

/** Return the key of a row: its names, joined with a colon as on the stream. */
export const keyOf = (topic, row) => KEYS[topic].map((name) => row[name]).join(":");

/** Return a store that is connected to this collector for as long as the page is open. */
export function createStore() {
  const store = new Store();
  store.start();
  return store;
}

class Store {
  #listeners = new Set();
  #frame = 0;
  #source = null;
  #waiting = []; // messages that came before the status document
  #attempt = 0;
  #retry = 0;
  #heard_ms = 0;
  #offset_ms = 0;
  #dirty = new Set();
  #state = {
    connection: { state: "connecting", since_ms: Date.now(), why: "" },
    collector: null,
    zones: new Map(),
    nodes: new Map(),
    workloads: new Map(),
    jobs: new Map(),
    events: [],
    alerts: [],
    told_ms: 0,
  };
  topics = [...TOPICS];
  handlers = {}; // topic -> (message) => void, for what views add with `on`
  rings = new Map(); // zone -> Ring
  nodeRings = new Map(); // zone:node -> NodeRing

  /** Return all that is known now: {connection, collector, zones, nodes, workloads, jobs, events, alerts, told_ms}. */
  get() {
    return this.#state;
  }

  /** The collector's wall clock in milliseconds, as well as it is known here. */
  now() {
    return Date.now() + this.#offset_ms;
  }

  /** Call `listener` at most once per frame after changes; returns how to end that. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Hear one more topic of the stream from the next message on; returns how to end that. */
  on(topic, handler) {
    (this.handlers[topic] ??= new Set()).add(handler);
    if (!this.topics.includes(topic)) {
      this.topics.push(topic);
      if (this.#source) this.#connect();
    }
    return () => this.handlers[topic].delete(handler);
  }

  /** The last hour of a zone. */
  ring(zone) {
    let ring = this.rings.get(zone);
    if (!ring) this.rings.set(zone, (ring = new Ring()));
    return ring;
  }

  /** The latest power and cap of a node, a sample per second. */
  nodeRing(key) {
    let ring = this.nodeRings.get(key);
    if (!ring) this.nodeRings.set(key, (ring = new NodeRing()));
    return ring;
  }

  start() {
    this.#connect();
    setInterval(() => this.#look(), 1000);
    addEventListener("online", () => this.#state.connection.state !== "live" && this.#connect());
  }

  // --- connection ---------------------------------------------------------------------------------------------------

  async #connect() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#waiting = [];
    this.#heard_ms = Date.now();
    const source = new EventSource(`/api/v1/stream?topics=${this.topics.join(",")}`);
    this.#source = source;
    for (const topic of [...this.topics, "gap"]) {
      source.addEventListener(topic, (event) => this.#hear(source, topic, event.data));
    }
    source.onerror = () => source === this.#source && this.#lost("the connection broke");
    try {
      const status = await getJson("/api/v1/status");
      if (source !== this.#source) return;
      this.#takeStatus(status);
      const waiting = this.#waiting;
      this.#waiting = null;
      for (const [topic, data] of waiting) this.#take(topic, data);
      this.#attempt = 0;
      this.#connection("live", "");
    } catch (error) {
      if (source !== this.#source) return;
      this.#lost(error.message, error.status);
    }
  }

  #lost(why, status = 0) {
    this.#source?.close();
    this.#source = null;
    const wait_ms = Math.min(LONGEST_WAIT_MS, 500 * 2 ** this.#attempt) * (0.75 + Math.random() / 2);
    this.#attempt += 1;
    this.#connection(status === 401 || status === 403 ? "refused" : "reconnecting", why);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), wait_ms);
  }

  #connection(state, why) {
    const before = this.#state.connection;
    const since_ms = before.state === state ? before.since_ms : Date.now();
    this.#change("connection", { state, since_ms, why });
  }

  #look() {
    if (this.#source && Date.now() - this.#heard_ms > SILENT_MS) this.#lost("nothing was heard for 8 s");
  }

  // --- what is told -------------------------------------------------------------------------------------------------

  #hear(source, topic, data) {
    if (source !== this.#source) return;
    this.#heard_ms = Date.now();
    if (this.#waiting) this.#waiting.push([topic, data]);
    else this.#take(topic, data);
  }

  #take(topic, data) {
    const message = parse(data);
    if (topic === "pulse") this.#takePulse(message);
    else if (topic === "collector") this.#takeCollector(message);
    else if (topic === "events") this.#takeEvents([message]);
    else if (topic in KEYS) this.#takeRow(topic, message);
    for (const handler of this.handlers[topic] ?? []) handler(message);
  }

  #takeStatus(status) {
    const { zones, nodes, workloads, jobs, events, alerts, ...collector } = status;
    const told = { zones, nodes, workloads, jobs };
    for (const topic of Object.keys(KEYS)) {
      this.#change(topic, new Map((told[topic] ?? []).map((row) => [keyOf(topic, row), row])));
    }
    this.#change("alerts", alerts ?? []);
    this.#change("collector", collector);
    this.#takeEvents(events ?? []);
    this.#change("told_ms", Date.now());
  }

  #takeCollector(message) {
    const { alerts, wall_ms, ...collector } = message;
    this.#offset_ms = wall_ms - Date.now();
    this.#change("collector", { ...this.#state.collector, ...collector });
    if (alerts) this.#change("alerts", alerts);
    this.#change("told_ms", Date.now());
    for (const zone of this.#state.zones.values()) this.ring(zone.zone).add(wall_ms / 1000, zone);
  }

  #takeRow(topic, row) {
    const rows = this.#rows(topic);
    if (row.gone) rows.delete(row.key);
    else rows.set(keyOf(topic, row), row);
  }

  /** Columns of one zone's nodes: what changes each second. */
  #takePulse(message) {
    const rows = this.#rows("nodes");
    if (message.gone) {
      for (const [key, row] of rows) if (row.zone === message.key) rows.delete(key);
      return;
    }
    const { zone, node, all, ...columns } = message;
    const names = Object.keys(columns);
    const here = new Set();
    for (let i = 0; i < node.length; i++) {
      const key = `${zone}:${node[i]}`;
      here.add(key);
      const row = { ...rows.get(key), ...all, zone, node: node[i] };
      for (const name of names) row[name] = columns[name][i];
      rows.set(key, row);
      this.nodeRing(key).add(row.power_w, row.cap_w);
    }
    for (const [key, row] of rows) if (row.zone === zone && !here.has(key)) rows.delete(key);
  }

  #takeEvents(events) {
    this.#change("events", merged(this.#state.events, events).slice(-EVENTS_KEPT));
  }

  // --- changes ------------------------------------------------------------------------------------------------------

  /** Return a topic's rows to be changed: a copy, made once per frame. */
  #rows(topic) {
    if (!this.#dirty.has(topic)) {
      this.#dirty.add(topic);
      this.#change(topic, new Map(this.#state[topic]));
    }
    return this.#state[topic];
  }

  #change(name, value) {
    if (this.#state[name] === value) return;
    this.#state = { ...this.#state, [name]: value };
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#dirty.clear();
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

/** The last hour of a zone: each second of the last minutes, of what was before the means of five seconds. */
class Ring {
  #fine = empty();
  #coarse = empty();

  add(at_s, zone) {
    const last_s = this.#fine.at_s.at(-1) ?? -Infinity;
    if (at_s < last_s) this.#clear(); // the collector's clock was set back
    else if (at_s === last_s) return;
    for (const name of NAMES) this.#fine[name].push(name === "at_s" ? at_s : zone.nodes || !OF_NODES.has(name) ? (zone[COLUMNS[name]] ?? null) : null);
    this.#settle(at_s - FINE_S);
  }

  /** Put what the collector remembers, in means too, before what was seen here. */
  seed(history) {
    const first_s = this.#coarse.at_s[0] ?? this.#fine.at_s[0] ?? Infinity;
    const kept = history.at_s.filter((at_s) => at_s < first_s).length;
    for (const name of NAMES) this.#coarse[name].unshift(...history[COLUMNS[name]].slice(0, kept));
  }

  /** Return the columns since a moment (Unix seconds). */
  since(from_s) {
    const first = (column) => (column.length && column.at(-1) >= from_s ? column.findIndex((at_s) => at_s >= from_s) : column.length);
    const [coarse, fine] = [first(this.#coarse.at_s), first(this.#fine.at_s)];
    return Object.fromEntries(NAMES.map((name) => [name, [...this.#coarse[name].slice(coarse), ...this.#fine[name].slice(fine)]]));
  }

  /** Take seconds that are old together, once their five are complete. */
  #settle(until_s) {
    const { at_s } = this.#fine;
    const step = (at) => Math.floor(at / COARSE_S);
    while (step(at_s[0]) < step(until_s)) {
      const next = at_s.findIndex((at) => step(at) > step(at_s[0]));
      for (const name of NAMES) {
        const taken = this.#fine[name].splice(0, next);
        this.#coarse[name].push(name === "at_s" ? taken.at(-1) : mean(taken));
      }
    }
    if (this.#coarse.at_s.length > RING) for (const name of NAMES) this.#coarse[name].splice(0, RING / 10);
  }

  #clear() {
    this.#fine = empty();
    this.#coarse = empty();
  }
}

/** The mean of what is known; null where nothing is. */
function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

const COLUMNS = {
  at_s: "at_s",
  power_w: "power_w",
  budget_w: "budget_w",
  leased_w: "leased_w",
  grams_per_h: "emissions_g_per_h",
  intensity: "intensity_g_per_kwh",
};
const OF_NODES = new Set(["power_w", "leased_w", "grams_per_h"]); // not known before one is heard
const NAMES = Object.keys(COLUMNS);
const empty = () => Object.fromEntries(NAMES.map((name) => [name, []]));

/** The latest power and cap of a node, a sample per second. */
class NodeRing {
  #power_w = new Float32Array(NODE_RING).fill(NaN);
  #cap_w = new Float32Array(NODE_RING).fill(NaN);
  #next = 0;

  add(power_w, cap_w) {
    this.#power_w[this.#next] = power_w ?? NaN;
    this.#cap_w[this.#next] = cap_w ?? NaN;
    this.#next = (this.#next + 1) % NODE_RING;
  }

  /** Return {power_w, cap_w}, the oldest first; null where it is not known. */
  list() {
    const turned = (values) => [...values.subarray(this.#next), ...values.subarray(0, this.#next)].map((value) => (Number.isNaN(value) ? null : value));
    return { power_w: turned(this.#power_w), cap_w: turned(this.#cap_w) };
  }
}

function merged(before, more) {
  const name = (one) => JSON.stringify(one);
  const seen = new Set(before.map(name));
  return [...before, ...more.filter((one) => !seen.has(name(one)))];
}

/**
 * Return what `selector` picks from the state, and draw again when that has changed.
 * `equal` may compare, where the selector makes something new each time.
 */
export function useStore(store, selector, equal = Object.is) {
  const [, draw] = useReducer((times) => times + 1, 0);
  const picked = selector(store.get());
  const last = useRef();
  last.current = { selector, picked, equal };
  useLayoutEffect(
    // at once: what changes between the drawing and an effect that comes later would not be seen
    () =>
      store.subscribe(() => {
        const { selector, picked, equal } = last.current;
        if (!equal(picked, selector(store.get()))) draw();
      }),
    [store],
  );
  return picked;
}

/** Whether two lists or objects have the same entries; for `useStore`. */
export function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.is(a[key], b[key]));
}

/** Return why what is shown of a node is old; empty when it is not. `connection` from the state. */
export function nodeStale(node, connection) {
  if (connection.state !== "live") return "no connection to the collector";
  if (node.state === "lost") return "lost: the broker has seen it go";
  if (node.state === "disconnected") return "has left";
  if (node.state === "init") return "has not spoken yet";
  return node.silent ? "silent: it ought to speak and does not" : "";
}

/** Return why what is shown of a zone is old; empty when it is not. */
export function zoneStale(zone, connection) {
  if (connection.state !== "live") return "no connection to the collector";
  if (zone.linked === false) return "the collector has no connection to this zone's broker";
  return "";
}

/** Return why sums over `zones` are old; empty when none of them is. */
export function fleetStale(zones, connection) {
  if (connection.state !== "live") return zoneStale({}, connection);
  const old = zones.filter((zone) => zone.linked === false);
  if (!old.length) return "";
  return old.length === zones.length ? "the collector has no connection to the broker" : `no connection to ${old.length} of ${zones.length} zones`;
}
