// A grid's intensity: how it was, how it is, and how it is expected to be, with the band that nine of ten hours fall in.

import { html } from "/page/vendor/htm-preact.js";
import { Chart } from "/page/lib/chart.js";
import { duration, intensity } from "/page/lib/format.js";
import { Empty } from "/page/lib/parts.js";

const AHEAD_S = 48 * 3600;

export function IntensityChart({ store, grid, forecast, height = 190 }) {
  if (!forecast) return html`<${Empty}>There is no forecast of this grid yet.<//>`;
  const now_s = Math.floor(store.now() / 60_000) * 60;
  const { start_s, step_s, quantiles } = forecast;
  const names = Object.keys(quantiles).sort((a, b) => a - b);
  const steps = Math.min(quantiles[names[0]].length, Math.ceil(AHEAD_S / step_s));
  const x = Array.from({ length: steps }, (_, i) => start_s + i * step_s);
  const pick = (name) => quantiles[name].slice(0, steps);
  const low = names[0];
  const high = names.at(-1);
  const middle = names.includes("0.5") ? "0.5" : names[Math.floor(names.length / 2)];
  const share = Math.round((high - low) * 100);
  const banded = low !== high;
  const expected = { label: "Expected", values: pick(middle), colour: "carbon", width: 1.8, stepped: true };
  const series = [
    expected,
    { label: `${share} % from`, values: pick(low), colour: "forecast", width: 0.6, stepped: true },
    { label: "to", values: pick(high), colour: "forecast", width: 0.6, stepped: true },
  ];
  const marks = [{ at_s: now_s, label: `now ${intensity(grid.intensity_g_per_kwh)}`, colour: "ink" }];
  const within = banded ? `; ${share} of 100 hours are expected within the band` : "";
  const title = `Intensity of ${grid.grid}, as expected for ${duration(steps * step_s)}${within}`;
  return html`<${Chart} title=${title} x=${x} series=${banded ? series : [expected]} bands=${banded ? [{ upper: 2, lower: 1, colour: "forecast" }] : []}
    marks=${marks} format=${intensity} height=${height} range=${[start_s, x.at(-1) + step_s]} rest_s=${now_s} />`;
}
