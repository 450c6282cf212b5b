// What the collector's short words mean to a reader, each with its tone.

import { NONE, duration, watts } from "/page/lib/format.js";

/** The state of a node as {tone, word}. */
export function nodeState(node) {
  if (node.state === "lost") return { tone: "bad", word: "lost" };
  if (node.state === "disconnected") return { tone: "off", word: "has left" };
  if (node.state === "init") return { tone: "warn", word: "starting" };
  if (node.silent) return { tone: "bad", word: "silent" };
  if (node.two_agents) return { tone: "warn", word: "two agents" };
  if (node.paused?.length) return { tone: "note", word: "paused" };
  return { tone: "good", word: "ready" };
}

const BANDS = {
  normal: ["good", "normal", "Power is well below the budget: nothing is held back."],
  hold: ["note", "hold", "Power is near the budget: nobody gets more for now."],
  cap: ["note", "capping", "Nodes are held below what they want, so that the budget holds."],
  brake: ["bad", "braking", "Power is above the budget: use is being cut at once."],
  off: ["off", "not steered", "This zone has no budget, or control is off."],
};

/** The band of a zone as {tone, word, help}. */
export function zoneBand(zone) {
  const [tone, word, help] = BANDS[zone.band] ?? ["off", zone.band, ""];
  return { tone, word: zone.dry_run ? `${word} (dry run)` : word, help };
}

/** Whether caps add up to clearly more than a budget: floors of nodes stand above it, or it has just been lowered. */
export const over = (leased_w, budget_w) => budget_w !== null && leased_w > budget_w * 1.001;

/** What caps leave of a budget, in words. */
export function givenOut(leased_w, budget_w) {
  return over(leased_w, budget_w) ? `${watts(leased_w - budget_w)} above the budget` : `${watts(Math.max(0, budget_w - leased_w))} of the budget is not given out`;
}

const LEASES = {
  unmanaged: "none: not steered",
  leased: "in force",
  ramping: "ended: going to its fallback",
  fallback: "fallback, by itself",
};

/** The state of a node's lease in words, with who set it. */
export function leaseWords(node) {
  if (!node.lease) return NONE;
  const by = node.lease_by ? `, by the ${node.lease_by}` : "";
  return `${LEASES[node.lease] ?? node.lease}${by}`;
}

const QUALITIES = {
  measured: ["good", "measured", "Counted by the hardware."],
  integrated: ["good", "integrated", "Readings of power, multiplied by time."],
  estimated: ["note", "estimated", "From use and a stated curve; there is no counter."],
  unknown: ["warn", "unknown", "A gap that no counter bridges."],
};

/** What a node draws; with the sign of an estimate where it is one. */
export const nodeWatts = (node) => `${watts(node.power_w)}${node.quality === "estimated" ? "~" : ""}`;

/** How a figure is known, as {tone, word, help}. */
export function quality(name) {
  const [tone, word, help] = QUALITIES[name] ?? ["off", name ?? NONE, ""];
  return { tone, word, help };
}

const STANDINGS = { measured: "measured", estimated: "estimated", forecast: "a forecast", fallback: "fallback: no source tells it now" };

/** How an intensity is known. */
export const standing = (name) => STANDINGS[name] ?? name ?? NONE;

/** How long ago; "now" within two seconds. */
export const ago = (age_s) => (age_s === null || age_s === undefined ? NONE : age_s < 2 ? "now" : `${duration(age_s)} ago`);

const LONGEST = 240;

/** A text that somebody else chose, cut where nobody would read on. */
const cut = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);

/** An event as a sentence. */
export function eventWords(event) {
  const facts = Object.entries(event.facts ?? {}).filter(([, value]) => value !== "" && value !== null).map(([name, value]) => fact(name, value));
  const about = event.subject && event.subject !== "node" ? ` (${event.subject})` : "";
  return cut(`${event.name.replaceAll("-", " ")}${about}${facts.length ? `: ${facts.join(", ")}` : ""}`);
}

const SOON_MS = 2_000;
const MANY = 3;

/** Events, the latest first, as [{event, nodes}]: what happened to many nodes at the same time is told once. */
export function together(events) {
  const groups = [];
  for (const event of events) {
    const [last] = groups.at(-1) ?? [];
    if (last && last.name === event.name && last.zone === event.zone && last.wall_ms - event.wall_ms < SOON_MS) groups.at(-1).push(event);
    else groups.push([event]);
  }
  return groups.flatMap((group) => {
    const nodes = new Set(group.map((event) => event.node)).size;
    return nodes >= MANY ? [{ event: group[0], nodes }] : group.map((event) => ({ event, nodes: 1 }));
  });
}

const UNITS = { w: "W", s: "s", j: "J", g: "g", pct: "%", mb: "MB" };

function fact(name, value) {
  const [, stem, unit] = name.match(/^(.*)_([a-z]+)$/) ?? [null, name, ""];
  if (typeof value !== "number") return `${name.replaceAll("_", " ")} ${value ?? NONE}`;
  const shown = Number.isInteger(value) ? value : value.toFixed(1);
  return UNITS[unit] ? `${stem.replaceAll("_", " ")} ${shown} ${UNITS[unit]}` : `${name.replaceAll("_", " ")} ${shown}`;
}

/** What cannot be had from zones inside others, whose figures stand in the outer ones: the outermost only. */
export function outermost(zones) {
  const inner = new Set([...zones.values()].flatMap((zone) => zone.inside ?? []));
  return [...zones.values()].filter((zone) => !inner.has(zone.zone));
}
