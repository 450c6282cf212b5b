import { html } from "/page/vendor/htm-preact.js";

export const title = "node";

export function View() {
  return html`<h1>node</h1>`;
}
