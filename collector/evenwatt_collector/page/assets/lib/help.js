// What the keys do, and how to read the page.

import { html, useLayoutEffect, useRef } from "/page/vendor/htm-preact.js";
import { State } from "/page/lib/parts.js";

export function Help({ views, onClose }) {
  const dialog = useRef();
  useLayoutEffect(() => dialog.current.showModal(), []);
  const keyed = Object.values(views).filter((view) => view.key);
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" onClose=${onClose} onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
    <h2 id="help-title">Help</h2>
    <h3>Keys</h3>
    <dl class="keys">
      <div><dt><kbd>/</kbd></dt><dd>find a node or zone</dd></div>
      ${keyed.map((view) => html`<div key=${view.key}><dt><kbd>g</kbd> <kbd>${view.key}</kbd></dt><dd>${view.name}</dd></div>`)}
      <div><dt><kbd>↑</kbd> <kbd>↓</kbd> <kbd>Home</kbd> <kbd>End</kbd></dt><dd>from row to row in a long table; <kbd>Enter</kbd> opens it</dd></div>
      <div><dt><kbd>?</kbd></dt><dd>this help</dd></div>
    </dl>
    <h3>Signs</h3>
    <p><${State} tone="good">as it should be<//> <${State} tone="note">limited on purpose<//> <${State} tone="warn">look at it<//> <${State} tone="bad">trouble<//> <${State} tone="off">not in use, or not known<//></p>
    <p>What is old is grey and says why. A dash is a figure that is not known; it is never a zero. <code>~</code> stands behind what is an estimate, all of it or a part. <b>Budget</b>: the most a zone may draw. <b>Caps and the rest</b>: the most that it can draw
      with the caps that are in force now; it stays below the budget.</p>
    <form method="dialog"><button type="submit" autofocus>Close</button></form>
  </dialog>`;
}
