// Small pieces that views are made of. Each says in words what it shows in colour.

import { html } from "/page/vendor/htm-preact.js";
import { NONE, watts } from "/page/lib/format.js";

/** A big figure with its name, and what it is measured by. */
export function Figure({ name, value, note, tone = "", stale = "" }) {
  return html`<div class=${`figure ${tone} ${stale ? "stale" : ""}`}>
    <dt>${name}</dt>
    <dd><span class="value">${value}</span>${note ? html`<span class="note">${note}</span>` : null}
      ${stale ? html`<${Stale} why=${stale} />` : null}</dd>
  </div>`;
}

/** A section of a view with its heading; `aside` stands right of it. */
export function Panel({ title, aside, children, id }) {
  return html`<section class="panel" aria-labelledby=${id}>
    <header><h2 id=${id}>${title}</h2>${aside ? html`<div class="aside">${aside}</div>` : null}</header>
    ${children}
  </section>`;
}

const SIGNS = { good: "●", note: "◆", warn: "▲", bad: "■", off: "○" };

/** A state in a word, with a sign and colour: `tone` is good, note, warn, bad or off. */
export function State({ tone = "off", children, title }) {
  return html`<span class=${`state ${tone}`} title=${title}><span aria-hidden="true">${SIGNS[tone]}</span> ${children}</span>`;
}

/** Says that something is old, and why. */
export function Stale({ why }) {
  return html`<span class="stale-why">old: ${why}</span>`;
}

/** A message that stands for itself: `tone` as for State. */
export function Notice({ tone = "note", children }) {
  return html`<p class=${`notice ${tone}`}><${State} tone=${tone}>${WORDS[tone]}</${State}> <span>${children}</span></p>`;
}

const WORDS = { good: "Good", note: "Note", warn: "Warning", bad: "Trouble", off: "Off" };

/** What is shown where there is nothing. */
export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

/** Watts against a limit as a bar; the words beside it say the same. */
export function Bar({ power_w, cap_w, most_w, stale = false }) {
  if (power_w === null || power_w === undefined) return html`<span class="quiet">${NONE}</span>`;
  const whole_w = Math.max(most_w ?? 0, cap_w ?? 0, power_w, 1);
  const over = cap_w !== null && cap_w !== undefined && power_w > cap_w * 1.02;
  return html`<span class=${`bar ${over ? "over" : ""} ${stale ? "stale" : ""}`} aria-hidden="true" title=${watts(power_w)}>
    <span class="fill" style=${{ width: `${(100 * power_w) / whole_w}%` }}></span>
    ${cap_w === null || cap_w === undefined ? null : html`<span class="mark" style=${{ left: `${(100 * cap_w) / whole_w}%` }}></span>`}
  </span>`;
}

/** Names and values of one thing: `rows` of [name, value]; empty ones are left out. */
export function Facts({ rows }) {
  return html`<dl class="facts">
    ${rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}
