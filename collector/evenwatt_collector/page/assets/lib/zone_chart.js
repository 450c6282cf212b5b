// A zone's watts against its budget, with what its caps add up to.

import { html } from "/page/vendor/htm-preact.js";
import { Chart } from "/page/lib/chart.js";
import { watts } from "/page/lib/format.js";
import { useHistory } from "/page/lib/history.js";

const SHORTEST_S = 60; // what is known for less is drawn at the right

export function ZoneChart({ store, zone, height = 190, minutes = 15, every_s = 1, turn = 0 }) {
  const past = useHistory(store, zone.zone, minutes, every_s, turn);
  const steered = zone.controlled && zone.budget_w !== null;
  const series = [{ label: "Power", values: past.power_w, colour: "power", width: 1.8, fill: true }];
  if (steered) series.push({ label: "Caps and the rest", values: past.leased_w, colour: "caps", width: 1.3, stepped: true });
  if (zone.budget_w !== null) series.push({ label: "Budget", values: past.budget_w, colour: "budget", width: 1.5, dash: [6, 4], stepped: true });
  const now_s = past.at_s.at(-1) ?? store.now() / 1000;
  const from_s = Math.min(Math.max(now_s - minutes * 60, past.at_s[0] ?? 0), now_s - SHORTEST_S);
  return html`<${Chart} title=${`Power of zone ${zone.zone}, last ${minutes} minutes`} x=${past.at_s} series=${series} format=${watts}
    height=${height} range=${[from_s, now_s]} />`;
}
