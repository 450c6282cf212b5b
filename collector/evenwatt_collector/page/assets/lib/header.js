// The top of the page: where one can go, whether what is shown is live, finding a node, light or dark.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { clock } from "/page/lib/format.js";
import { State } from "/page/lib/parts.js";
import { to } from "/page/lib/router.js";
import { useStore } from "/page/lib/store.js";

const FOUND = 8;

export function Header({ store, views, current, onHelp }) {
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [location.hash]);
  const named = Object.entries(views).filter(([, view]) => view.name);
  return html`<header class="top">
    <a class="brand" href="#/" aria-label="evenwatt: to the fleet"><img src="/page/icon.svg" alt="" width="22" height="22" />evenwatt</a>
    <${Connection} store=${store} />
    <button type="button" class="menu" aria-expanded=${open ? "true" : "false"} aria-controls="views" onClick=${() => setOpen(!open)}>Menu</button>
    <nav id="views" aria-label="Views" class=${open ? "open" : ""}>
      <ul>${named.map(([name, view]) => html`<li key=${name}><a href=${`#/${name}`} aria-current=${name === current ? "page" : undefined}>${view.name}</a></li>`)}</ul>
    </nav>
    <div class="tools">
      <${Search} store=${store} />
      <${Theme} />
      <button type="button" class="plain" onClick=${onHelp} aria-label="Help and keys" title="Help and keys (?)">?</button>
    </div>
  </header>`;
}

const CONNECTED = {
  live: ["good", "live"],
  connecting: ["off", "connecting"],
  reconnecting: ["bad", "reconnecting"],
  refused: ["bad", "reading needs a login"],
};

function Connection({ store }) {
  const { state, since_ms, why } = useStore(store, (all) => all.connection);
  const [tone, word] = CONNECTED[state];
  const since = state === "reconnecting" ? ` since ${clock(since_ms)}` : "";
  return html`<span class="connection" role="status"><${State} tone=${tone} title=${why}>${word}${since}<//></span>`;
}

function Theme() {
  const [theme, setTheme] = useState(chosenTheme());
  useLayoutEffect(() => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    remember(theme);
  }, [theme]);
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  return html`<button type="button" class="plain" onClick=${() => setTheme(dark ? "light" : "dark")} aria-label=${dark ? "Light colours" : "Dark colours"}
    title=${dark ? "Light colours" : "Dark colours"}><span aria-hidden="true">${dark ? "☀" : "☾"}</span></button>`;
}

function chosenTheme() {
  try {
    return localStorage.getItem("theme") ?? "";
  } catch {
    return ""; // the browser keeps nothing: follow the system
  }
}

function remember(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
  } catch {
    // it will be asked again
  }
}

/** Finds zones and nodes by a part of their name: a combobox as described by WAI-ARIA (list autocomplete). */
function Search({ store }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const field = useRef();
  const zones = useStore(store, (all) => (text ? all.zones : null));
  const nodes = useStore(store, (all) => (text ? all.nodes : null), sameNames);
  const found = useMemo(() => find(text, zones, nodes), [text, nodes?.size, zones?.size]);
  const go = (one) => {
    location.hash = one.href;
    setText("");
    field.current.blur();
  };
  const keys = (event) => {
    if (event.key === "Escape") setText(""), field.current.blur();
    else if (event.key === "Enter" && found[chosen]) go(found[chosen]);
    else if (event.key === "ArrowDown") setChosen(Math.min(found.length - 1, chosen + 1));
    else if (event.key === "ArrowUp") setChosen(Math.max(0, chosen - 1));
    else return;
    event.preventDefault();
  };
  return html`<div class="search">
    <input ref=${field} id="search" type="search" placeholder="Find a node  /" autocomplete="off" spellcheck=${false} role="combobox" aria-label="Find a node or zone"
      aria-expanded=${text ? "true" : "false"} aria-controls="found" aria-autocomplete="list" aria-activedescendant=${text && found.length ? `found-${chosen}` : undefined}
      value=${text} onInput=${(event) => (setText(event.target.value), setChosen(0))} onKeyDown=${keys} onBlur=${() => setTimeout(() => setText(""), 200)} />
    <ul id="found" role="listbox" aria-label="Found" hidden=${!text}>
      ${found.map((one, i) => html`<li key=${one.href} id=${`found-${i}`} role="option" aria-selected=${i === chosen ? "true" : "false"} onMouseDown=${(event) => (event.preventDefault(), go(one))}>
        ${one.name} <span class="quiet">${one.kind}</span></li>`)}
      ${text && !found.length ? html`<li role="option" aria-selected="false" aria-disabled="true">Nothing is called so</li>` : null}
    </ul>
  </div>`;
}

const sameNames = (a, b) => a?.size === b?.size;

function find(text, zones, nodes) {
  const asked = text.trim().toLowerCase();
  if (!asked || !zones || !nodes) return [];
  const all = [
    ...[...zones.values()].map((row) => ({ name: row.zone, kind: "zone", href: to("zone", row.zone) })),
    ...[...nodes.values()].map((row) => ({ name: row.node, kind: `node of ${row.zone}`, href: to("node", row.zone, row.node) })),
  ];
  const at = (one) => one.name.toLowerCase().indexOf(asked);
  const hits = all.filter((one) => at(one) >= 0);
  hits.sort((a, b) => at(a) - at(b) || a.name.length - b.name.length || a.name.localeCompare(b.name));
  return hits.slice(0, FOUND);
}
