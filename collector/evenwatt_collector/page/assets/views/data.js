import { html } from "/page/vendor/htm-preact.js";

export const title = "data";

export function View() {
  return html`<h1>data</h1>`;
}
