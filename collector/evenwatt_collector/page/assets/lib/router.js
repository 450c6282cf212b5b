// Where the page is: `#/VIEW/PART/PART`. Parts are names of zones, nodes and workloads, so they are escaped.

import { useLayoutEffect, useState } from "/page/vendor/htm-preact.js";

/** Return {name, params} of a hash. */
export function parse(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").map(unescaped).filter((part) => part !== "");
  return { name: parts[0] ?? "", params: parts.slice(1) };
}

/** Return the link to a view: `to("node", zone, node)`. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

/** Return where the page is, and follow it. */
export function useRoute() {
  const [route, setRoute] = useState(() => parse(location.hash));
  useLayoutEffect(() => {
    const follow = () => setRoute(parse(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}

function unescaped(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
