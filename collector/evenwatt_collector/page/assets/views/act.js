// Actions: a lower limit, a cap or a pause, for a while. Behind a log-in; what would happen is shown before it is done.

import { html, useEffect, useLayoutEffect, useRef, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { moment, watts } from "/page/lib/format.js";
import { Empty, Notice, Panel, State } from "/page/lib/parts.js";
import { change, logIn, logOut, useSession } from "/page/lib/session.js";
import { useStore } from "/page/lib/store.js";

export const title = "Act";

const PATH = "/api/v1/overrides";
const KINDS = { limit: "Lower a zone's limit", cap: "Cap a node", pause: "Pause a node's work" };
const TITLES = { limit: "Lower the limit of zone", cap: "Cap node", pause: "Pause the work of" };
const LENGTHS = [[600, "10 minutes"], [1800, "30 minutes"], [3600, "1 hour"], [14_400, "4 hours"], [43_200, "12 hours"], [86_400, "24 hours"]];
const names = (one) => (one.node ? `${one.zone} / ${one.node}` : one.zone);

export function View({ store, params }) {
  const [session, trouble] = useSession();
  const [held, look, lost] = useHeld(store);
  const may = session?.scopes.includes("act");
  return html`<h1>Act</h1>
    <p class="lead">Lower the limit of a zone, cap a node or pause its work, for a while. What would happen is shown first, and the audit log keeps who asked for it and why.</p>
    ${trouble || lost ? html`<${Notice} tone="bad">${trouble || lost}<//>` : null}
    ${session ? html`<${Who} session=${session} />` : null}
    ${may ? html`<${Order} key=${params.join("/")} store=${store} params=${params} onDone=${look} />` : null}
    <${Panel} id="held" title="What holds now">
      <${Held} held=${held} may=${may} onDone=${look} />
    <//>`;
}

/** Overrides that hold: asked for again when somebody acts, and now and then because they end. */
function useHeld(store) {
  const [held, setHeld] = useState(null);
  const [trouble, setTrouble] = useState("");
  const look = () =>
    getJson(`${PATH}?limit=500`).then(
      (said) => (setHeld(said.overrides), setTrouble("")),
      (error) => setTrouble(error.message),
    );
  useEffect(() => {
    look();
    const timer = setInterval(look, 10_000);
    const stop = store.on("decisions", (said) => said.kind === "action" && look());
    return () => (clearInterval(timer), stop?.());
  }, []);
  return [held, look, trouble];
}

function Who({ session }) {
  const [trouble, setTrouble] = useState("");
  if (session.name !== null) {
    const out = () => logOut().catch((error) => setTrouble(error.message));
    return html`<p class="who"><span>Logged in as <b>${session.name}</b>, for ${session.scopes.join(", ")}.</span> <button type="button" onClick=${out}>Log out</button></p>
      ${session.scopes.includes("act") ? null : html`<${Notice} tone="note">This token is not for actions: it needs the scope "act".<//>`}
      ${trouble ? html`<${Notice} tone="bad">${trouble}<//>` : null}`;
  }
  if (!session.actions && session.read === "open") {
    return html`<${Notice} tone="off">Nobody may act here: the collector has no token with the scope "act" (tokens in [http] of its settings).<//>`;
  }
  return html`<${LogIn} />`;
}

function LogIn() {
  const [trouble, setTrouble] = useState("");
  const field = useRef();
  const submit = (event) => {
    event.preventDefault();
    logIn(field.current.value).then(toMain, (error) => {
      field.current.value = "";
      setTrouble(error.message);
      field.current.focus();
    });
  };
  return html`<${Panel} id="login" title="Log in">
    <form class="act login" onSubmit=${submit}>
      <label>Token <input ref=${field} type="password" name="token" autocomplete="current-password" required maxlength="1000" aria-describedby="login-help" /></label>
      <button class="main" type="submit">Log in</button>
    </form>
    <p id="login-help" class="quiet">A token of the collector's own file. It is exchanged for a session that ends after half an hour without use.</p>
    <div role="alert">${trouble ? html`<${Notice} tone="bad">${trouble}<//>` : null}</div>
  <//>`;
}

function Order({ store, params, onDone }) {
  const zones = useStore(store, (all) => all.zones);
  const nodes = useStore(store, (all) => all.nodes);
  const [kind, setKind] = useState(params[0] in KINDS ? params[0] : "cap");
  const [zone, setZone] = useState(params[1] ?? "");
  const [node, setNode] = useState(params[2] ?? "");
  const [power, setPower] = useState("");
  const [length, setLength] = useState(1800);
  const [reason, setReason] = useState("");
  const [shown, setShown] = useState(null);
  const [said, setSaid] = useState(null);
  const zoned = [...zones.keys()].sort();
  const chosen = zone || zoned[0] || "";
  const inside = [...nodes.values()].filter((one) => one.zone === chosen).map((one) => one.node).sort();
  const wish = { kind, zone: chosen, for_s: length, reason };
  if (kind !== "limit") wish.node = node;
  if (kind !== "pause") wish.watts = Number(power);
  const preview = (event) => {
    event.preventDefault();
    setSaid(null);
    change("POST", `${PATH}?dry_run=true`, wish).then(
      (answer) => setShown({ wish, effect: answer.effect, key: newKey() }),
      (error) => setSaid(["bad", error.message]),
    );
  };
  const confirm = () =>
    change("POST", PATH, shown.wish, { "Idempotency-Key": shown.key }).then(
      () => (setShown(null), setReason(""), setSaid(["good", "It is set, and the audit log says so."]), onDone()),
      (error) => (setShown(null), setSaid(["bad", error.message])),
    );
  return html`<${Panel} id="order" title="Ask for something">
    <form class="act" onSubmit=${preview}>
      <label>What <select name="kind" value=${kind} onChange=${(event) => setKind(event.target.value)}>
        ${Object.entries(KINDS).map(([value, words]) => html`<option key=${value} value=${value}>${words}</option>`)}</select></label>
      <label>Zone <select name="zone" value=${chosen} onChange=${(event) => (setZone(event.target.value), setNode(""))}>
        ${zoned.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></label>
      ${kind === "limit" ? null : html`<label>Node <input name="node" list="act-nodes" required value=${node} onInput=${(event) => setNode(event.target.value)} autocomplete="off" /></label>
        <datalist id="act-nodes">${inside.map((one) => html`<option key=${one} value=${one}></option>`)}</datalist>`}
      ${kind === "pause" ? null : html`<label>Watts <input name="watts" type="number" required min="1" max="1000000000" step="any" value=${power} onInput=${(event) => setPower(event.target.value)} /></label>`}
      <label>For <select name="length" value=${length} onChange=${(event) => setLength(Number(event.target.value))}>
        ${LENGTHS.map(([seconds, words]) => html`<option key=${seconds} value=${seconds}>${words}</option>`)}</select></label>
      <label class="wide">Reason <input name="reason" required minlength="3" maxlength="200" value=${reason} onInput=${(event) => setReason(event.target.value)} autocomplete="off" /></label>
      <button type="submit" class="main">Show what would happen</button>
    </form>
    <div role="status">${said ? html`<${Notice} tone=${said[0]}>${said[1]}<//>` : null}</div>
    ${shown ? html`<${Confirm} shown=${shown} onConfirm=${confirm} onBack=${() => setShown(null)} />` : null}
  <//>`;
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What had the focus is gone: go on at the beginning of the view. */
const toMain = () => document.getElementById("main").focus({ preventScroll: true });

/** What would happen, and the question: in a dialog, so that nothing else can be done meanwhile. */
function Confirm({ shown, onConfirm, onBack }) {
  const dialog = useRef();
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close(); // what had the focus before has it again
  }, []);
  const { effect, wish } = shown;
  return html`<dialog ref=${dialog} class="confirm" aria-labelledby="confirm" onCancel=${(event) => (event.preventDefault(), onBack())}>
    <h2 id="confirm">${TITLES[wish.kind]} ${names(wish)}?</h2>
    <ul>${effect.lines.map((line) => html`<li key=${line}>${line}</li>`)}</ul>
    <dl class="facts">
      <div><dt>Draws now</dt><dd>${watts(effect.power_w)}</dd></div>
      ${wish.kind === "pause" ? null : html`<div><dt>May draw now, then</dt><dd>${watts(effect.now_w)} → ${watts(effect.then_w)}</dd></div>`}
      <div><dt>Not below</dt><dd>${watts(effect.floor_w)}</dd></div>
      <div><dt>Until</dt><dd>${moment(effect.until_s * 1000)}</dd></div>
      <div><dt>Reason</dt><dd>${wish.reason}</dd></div>
    </dl>
    <p class="choice"><button type="button" class="main" disabled=${busy} onClick=${() => (setBusy(true), onConfirm())}>Do it</button>
      <button type="button" autofocus onClick=${onBack}>Back</button></p>
  </dialog>`;
}

function Held({ held, may, onDone }) {
  if (held === null) return html`<p class="loading" role="status">Loading…</p>`;
  if (held.length === 0) return html`<${Empty}>Nobody has asked for anything: zones and nodes are steered by their rules alone.<//>`;
  return html`<ul class="held">${held.map((one) => html`<${One} key=${one.id} one=${one} may=${may} onDone=${onDone} />`)}</ul>`;
}

function One({ one, may, onDone }) {
  const [asked, setAsked] = useState(false);
  const [trouble, setTrouble] = useState("");
  const end = () => change("DELETE", `${PATH}/${encodeURIComponent(one.id)}`).then(() => (onDone(), toMain()), (error) => setTrouble(error.message));
  const keep = useRef();
  const begin = useRef();
  const asks = useRef(false);
  useLayoutEffect(() => {
    if (asks.current !== asked) (asked ? keep : begin).current?.focus(); // the button that was pressed is gone
    asks.current = asked;
  }, [asked]);
  return html`<li>
    <p><${State} tone="note">${one.kind}<//> <b>${names(one)}</b> ${one.watts === null ? "" : watts(one.watts)} until ${moment(one.until_s * 1000)}
      <span class="reason-given">by ${one.by}: ${one.reason}</span></p>
    ${trouble ? html`<${Notice} tone="bad">${trouble}<//>` : null}
    ${may ? html`<p class="choice">${asked
      ? html`<button type="button" class="main" onClick=${end}>Yes, end it now</button> <button ref=${keep} type="button" onClick=${() => setAsked(false)}>Keep it</button>`
      : html`<button ref=${begin} type="button" onClick=${() => setAsked(true)} aria-label=${`End: ${one.kind} of ${names(one)}`}>End…</button>`}</p>` : null}
  </li>`;
}
