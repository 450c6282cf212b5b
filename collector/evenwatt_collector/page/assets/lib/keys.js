// Keys that work everywhere: `/` finds a node, `g` and a letter goes to a view, `?` helps. Never while somebody types.

import { useLayoutEffect } from "/page/vendor/htm-preact.js";

const SOON_MS = 1_500;

export function useShortcuts(views, onHelp) {
  useLayoutEffect(() => {
    let went_ms = -Infinity;
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.target.closest?.("input, textarea, select, [contenteditable], dialog")) return;
      const going = performance.now() - went_ms < SOON_MS;
      went_ms = -Infinity;
      if (going) {
        const name = Object.keys(views).find((one) => views[one].key === event.key);
        if (name) location.hash = `#/${name}`;
      } else if (event.key === "g") went_ms = performance.now();
      else if (event.key === "?") onHelp();
      else if (event.key === "/") {
        event.preventDefault();
        document.getElementById("search")?.focus();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
