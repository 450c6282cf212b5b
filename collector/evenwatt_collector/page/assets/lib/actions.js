// Ways to the view "act" from a zone or node; nothing where this collector lets nobody act.

import { html } from "/page/vendor/htm-preact.js";
import { to } from "/page/lib/router.js";
import { useSession } from "/page/lib/session.js";

/** Links that begin an action on a zone, or on a node of it. */
export function Actions({ zone, node }) {
  const [session] = useSession();
  if (!session?.actions) return null;
  const links = node ? [["cap", "Cap…"], ["pause", "Pause…"]] : [["limit", "Lower its limit…"]];
  return html`<p class="actions">${links.map(([kind, words]) => html`<a key=${kind} class="button" href=${node ? to("act", kind, zone, node) : to("act", kind, zone)}
    aria-label=${`${words.replace("…", "")}: ${node ?? zone}`}>${words}</a> `)}</p>`;
}
