// The fleet now: watts against budgets with the caps drawn, what that emits, and what wants to be looked at.

import { html } from "/page/vendor/htm-preact.js";
import { Figure } from "/page/lib/parts.js";
import { watts } from "/page/lib/format.js";
import { useStore } from "/page/lib/store.js";

export const title = "Fleet";

export function View({ store }) {
  const zones = useStore(store, (all) => all.zones);
  const power_w = [...zones.values()].reduce((sum, zone) => sum + zone.power_w, 0);
  return html`<h1>Fleet</h1><dl class="figures"><${Figure} name="Power now" value=${watts(power_w)} /></dl>`;
}
