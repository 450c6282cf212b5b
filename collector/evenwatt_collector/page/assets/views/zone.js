import { html } from "/page/vendor/htm-preact.js";

export const title = "zone";

export function View() {
  return html`<h1>zone</h1>`;
}
