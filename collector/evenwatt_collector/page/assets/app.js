// The page: a frame around one view at a time, and the one place where views are registered.
//
// What a view is
//   `views/NAME.js` exports `title` (a string) and `View({store, params})`, a preact component written with htm's `html`
//   (both from "/page/vendor/htm-preact.js"). `params` are the parts of the hash behind the name: `#/node/hall/n1` gives
//   ["hall", "n1"]. It is loaded when it is first shown; it begins with <h1> and may set `document.title` itself.
// What it is made of
//   lib/store.js   useStore(store, selector, equal?) draws again when what was selected has changed, at most once a frame;
//                  store.get() = {connection, collector, zones, nodes, workloads, jobs, events, alerts, told_ms}; Maps by
//                  key; `collector` is the rest of the status document (grids, planning, messages, ...), renewed each
//                  second; store.now() is the collector's time in ms; store.on(topic, handler) hears another topic of the
//                  stream; nodeStale, zoneStale say in words why something is old.
//   lib/chart.js   Chart, Spark.   lib/table.js   Table.   lib/parts.js   Figure, Panel, State, Stale, Notice, Empty, Bar,
//   Facts.   lib/format.js   figures with units.   lib/api.js   getJson, ApiError.   lib/router.js   to("node", zone, node).
// Style: style.css has the tokens (colours are custom properties) and all shared classes; views.css is for views. No inline
// script, no style attribute in markup (style={{...}} is fine: it is set from script, which the policy allows).

import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from "/page/vendor/htm-preact.js";
import { Header } from "/page/lib/header.js";
import { Help } from "/page/lib/help.js";
import { useShortcuts } from "/page/lib/keys.js";
import { Notice } from "/page/lib/parts.js";
import { useRoute } from "/page/lib/router.js";
import { createStore } from "/page/lib/store.js";

/** Every view: what it is called in the menu (none: it is reached from others), its key after `g`, and its module. */
export const VIEWS = {
  fleet: { name: "Fleet", key: "f", load: () => import("/page/views/fleet.js") },
  zones: { name: "Zones", key: "z", load: () => import("/page/views/zones.js") },
  zone: { load: () => import("/page/views/zone.js") },
  node: { load: () => import("/page/views/node.js") },
  work: { name: "Work", key: "w", load: () => import("/page/views/work.js") },
  decisions: { name: "Decisions", key: "d", load: () => import("/page/views/decisions.js") },
  plan: { name: "Plan", key: "p", load: () => import("/page/views/plan.js") },
  score: { name: "Score", key: "s", load: () => import("/page/views/score.js") },
  act: { name: "Act", key: "a", load: () => import("/page/views/act.js") },
  data: { name: "Data quality", key: "q", load: () => import("/page/views/data.js") },
};
const FIRST = "fleet";

function App({ store }) {
  const route = useRoute();
  const name = route.name in VIEWS ? route.name : route.name === "" ? FIRST : "";
  const [help, setHelp] = useState(false);
  const main = useRef();
  useShortcuts(VIEWS, () => setHelp(true));
  useLayoutEffect(() => {
    scrollTo(0, 0);
    if (arrived) main.current.focus({ preventScroll: true }); // a screen reader begins where the new view does
    arrived = true;
  }, [location.hash]);
  return html`<a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), main.current.focus())}>Skip to the content</a>
    <${Header} store=${store} views=${VIEWS} current=${name} onHelp=${() => setHelp(true)} />
    <main id="main" ref=${main} tabindex="-1" class=${`view-${name}`}><${Shown} key=${route.name} name=${name} asked=${route.name} store=${store} params=${route.params} /></main>
    ${help ? html`<${Help} views=${VIEWS} onClose=${() => setHelp(false)} />` : null}`;
}

let arrived = false;

function Shown({ name, asked, store, params }) {
  const [module, setModule] = useState(loaded[name]);
  const [trouble, setTrouble] = useState("");
  const [error] = useErrorBoundary();
  useEffect(() => {
    if (!name || module) return;
    VIEWS[name].load().then(
      (found) => setModule((loaded[name] = found)),
      () => setTrouble("This view could not be loaded; is the collector there? Load the page again."),
    );
  }, []);
  useLayoutEffect(() => {
    document.title = `${module?.title ?? "Not found"} · evenwatt`;
  }, [module]);
  if (!name) return html`<h1>Not found</h1><${Notice} tone="warn">There is no view "${asked}". <a href="#/">To the fleet</a><//>`;
  if (error) return html`<h1>${module?.title}</h1><${Notice} tone="bad">This view has failed: ${error.message}. Load the page again.<//>`;
  if (trouble) return html`<h1>${VIEWS[name].name ?? name}</h1><${Notice} tone="bad">${trouble}<//>`;
  return module ? html`<${module.View} store=${store} params=${params} />` : html`<p class="loading" role="status">Loading…</p>`;
}

const loaded = {};

render(html`<${App} store=${createStore()} />`, document.getElementById("app"));
