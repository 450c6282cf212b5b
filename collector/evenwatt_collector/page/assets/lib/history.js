// The recent past of a zone: what the collector remembers, then what this page has seen.

import { useEffect, useMemo, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { useStore } from "/page/lib/store.js";

const asked = new Set();

/**
 * Return columns of a zone's last `minutes`: {at_s, power_w, budget_w, leased_w, grams_per_h, intensity}, renewed each
 * `every_s` seconds; `turn` says when, so that many charts take turns.
 */
export function useHistory(store, zone, minutes = 15, every_s = 1, turn = 0) {
  const beat = useStore(store, (all) => Math.floor((all.told_ms / 1000 + turn) / every_s));
  const [seeded, setSeeded] = useState(0);
  useEffect(() => {
    if (asked.has(zone)) return;
    asked.add(zone);
    getJson(`/api/v1/history?zone=${encodeURIComponent(zone)}`).then(
      (history) => {
        store.ring(zone).seed(history);
        setSeeded((times) => times + 1);
      },
      () => asked.delete(zone), // it begins with what is seen here
    );
  }, [zone]);
  return useMemo(() => store.ring(zone).since(store.now() / 1000 - minutes * 60), [beat, seeded, zone, minutes]);
}
