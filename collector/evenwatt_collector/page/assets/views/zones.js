import { html } from "/page/vendor/htm-preact.js";

export const title = "zones";

export function View() {
  return html`<h1>zones</h1>`;
}
