// What a standby shows: that it stands by, and who is active. When it takes over, the page itself comes.

import { html, render, useEffect, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { count, watts } from "/page/lib/format.js";
import { Facts, Notice, Panel, State } from "/page/lib/parts.js";

const EVERY_MS = 2_000;

function Standby() {
  const [{ said, trouble }, setTold] = useState({ said: null, trouble: "" });
  useEffect(() => {
    const ask = () =>
      getJson("/api/v1/status").then(
        (status) => (status.role === "standby" ? setTold({ said: status, trouble: "" }) : location.reload()),
        (error) => setTold((before) => ({ ...before, trouble: error.message })),
      );
    ask();
    const timer = setInterval(ask, EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<header class="top"><span class="brand"><img src="/page/icon.svg" alt="" width="22" height="22" />evenwatt</span></header>
    <main>
      <h1>Standby <${State} tone="note">stands by<//></h1>
      ${trouble ? html`<${Notice} tone="bad">${trouble}<//>` : null}
      ${said ? html`<${Words} said=${said} />` : html`<p class="loading" role="status">Loading…</p>`}
    </main>`;
}

function Words({ said }) {
  const nodes = said.nodes ?? [];
  const heard_w = nodes.reduce((sum, node) => sum + (node.power_w ?? 0), 0);
  return html`<p>This is the standby <b>${said.name}</b>. It hears the fleet and steers nothing; it takes over when the active one is gone.
      Open the page of <b>${said.active || "the other collector"}</b>, which is active.</p>
    ${(said.reasons ?? []).map((reason) => html`<${Notice} key=${reason} tone="note">${reason}<//>`)}
    <${Panel} id="heard" title="What it hears"><${Facts} rows=${[
      ["Active", said.active || "not known"],
      ["Nodes", nodes.length ? count(nodes.length) : null],
      ["Power now", nodes.length ? watts(heard_w) : null],
    ]} /><//>`;
}

render(html`<${Standby} />`, document.getElementById("app"));
