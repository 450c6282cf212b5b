// Asking again and again, while it can be seen; and amounts per unit of work.

import { useEffect, useState } from "/page/vendor/htm-preact.js";
import { getJson } from "/page/lib/api.js";
import { NONE, count, grams, joules } from "/page/lib/format.js";

/**
 * Return {data, error, at_ms, again} of a path: asked at once, then every `every_s` seconds while the page is visible.
 * What was answered last stays while it is asked again, also by another path with the same `what`. A `path` of null asks
 * nothing. `renew` asks anew when it changes.
 */
export function useAsked(path, every_s = 0, renew = null, what = path) {
  const [told, setTold] = useState({ what: null, data: null, error: "", at_ms: 0 });
  const [times, setTimes] = useState(0);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    const ask = async () => {
      try {
        const data = await getJson(path);
        if (!stop.signal.aborted) setTold({ what, data, error: "", at_ms: Date.now() });
      } catch (error) {
        if (stop.signal.aborted) return;
        setTold((before) => ({ ...(before.what === what ? before : { what, data: null, at_ms: 0 }), error: error.message }));
      }
    };
    ask();
    const timer = every_s ? setInterval(() => document.hidden || ask(), every_s * 1000) : 0;
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, [path, every_s, renew, times]);
  const ours = told.what === what ? told : { data: null, error: "", at_ms: 0 };
  return { ...ours, again: () => setTimes((before) => before + 1) };
}

/** Return a unit of work as it stands behind "per": "frame" of "frames". */
export function singular(unit) {
  const plural = unit.length > 3 && unit.endsWith("s") && !/(ss|us|is|_s)$/.test(unit);
  return plural ? unit.slice(0, -1) : unit;
}

/** A unit of work as it stands behind a number: "frames" of "frame" and of "frames". */
export function plural(unit) {
  return unit !== singular(unit) || unit.endsWith("s") || unit.length <= 3 ? unit : `${unit}s`;
}

/** An amount of work with its unit: "1 frame", "540 frames". */
export const amountOf = (amount, unit) => `${count(amount)} ${Math.round(amount) === 1 ? singular(unit) : plural(unit)}`;

/** Grams per unit of work, with the unit; a dash where nothing was counted. */
export function gramsPer(value_g, amount, unit) {
  return amount > 0 && Number.isFinite(value_g) ? `${grams(value_g / amount)} per ${singular(unit)}` : NONE;
}

/** Joules per unit of work, with the unit; a dash where nothing was counted. */
export function joulesPer(value_j, amount, unit) {
  return amount > 0 && Number.isFinite(value_j) ? `${joules(value_j / amount)} per ${singular(unit)}` : NONE;
}

/** The unit of which most was counted, as [unit, amount]; null where nothing was. */
export function mainUnit(units) {
  const counted = Object.entries(units ?? {}).filter(([, amount]) => amount > 0);
  return counted.length ? counted.reduce((a, b) => (b[1] > a[1] ? b : a)) : null;
}
