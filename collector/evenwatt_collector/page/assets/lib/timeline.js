// Time on the page's plan: one scale for the curve, the watts and the bars below them. Pure.

const STEPS_S = [5, 10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800];
const LEAST_PX = 84;

/** Return {from_s, until_s, width, x(at_s), inside(from_s, until_s)}. */
export function scale(from_s, until_s, width) {
  const span_s = Math.max(1, until_s - from_s);
  const x = (at_s) => ((Math.min(until_s, Math.max(from_s, at_s)) - from_s) / span_s) * width;
  return { from_s, until_s, width, x, inside: (from, until) => until > from_s && from < until_s };
}

/** Return moments at which the scale is labelled: whole hours, minutes, ..., by the clock of the reader. */
export function ticks({ from_s, until_s, width }) {
  const most = Math.max(1, Math.floor(width / LEAST_PX));
  const step_s = STEPS_S.find((step) => (until_s - from_s) / step <= most) ?? STEPS_S.at(-1);
  const offset_s = new Date(from_s * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from_s - offset_s) / step_s) * step_s + offset_s; at < until_s; at += step_s) found.push(at);
  return { step_s, at: found };
}

/** Return what is worth showing: from a little before now to the end of what is planned; all of it with `whole`. */
export function span(plan, now_s, whole) {
  const end_s = plan.start_s + plan.slots * plan.slot_s;
  const ends = plan.jobs.flatMap((job) => [...job.pieces.map((piece) => piece.end_s), ...(job.pieces.length && job.deadline_s ? [job.deadline_s] : [])]);
  const near_s = Math.min(end_s, Math.max(now_s + 12 * plan.slot_s, ...ends));
  const until_s = whole ? end_s : near_s + (near_s - now_s) * 0.03;
  const before_s = (until_s - now_s) * 0.3;
  const begun = plan.jobs.flatMap((job) => [...job.ran, ...job.pieces].map((piece) => piece.start_s));
  const from_s = Math.max(now_s - before_s, Math.min(now_s - before_s * 0.4, ...begun, ...plan.ended.flatMap((job) => job.ran.map((piece) => piece.start_s))));
  return [from_s, until_s];
}

/** Return the path of steps through [from_s, until_s, value], broken where a value is not known. */
export function steps(parts, time, y) {
  let path = "";
  let open = false;
  for (const [from_s, until_s, value] of parts) {
    if (!time.inside(from_s, until_s)) continue;
    if (!Number.isFinite(value)) {
      open = false;
      continue;
    }
    const at = y(value).toFixed(1);
    path += open ? `V${at}` : `M${time.x(from_s).toFixed(1)} ${at}`;
    path += `H${time.x(until_s).toFixed(1)}`;
    open = true;
  }
  return path;
}

/** Return the area between two values of [from_s, until_s, low, high]. */
export function area(parts, time, y) {
  const seen = parts.filter(([from_s, until_s]) => time.inside(from_s, until_s));
  if (!seen.length) return "";
  const upper = seen.map(([from, until, , high]) => `${time.x(from).toFixed(1)} ${y(high).toFixed(1)}L${time.x(until).toFixed(1)} ${y(high).toFixed(1)}`);
  const lower = [...seen].reverse().map(([from, until, low]) => `${time.x(until).toFixed(1)} ${y(low).toFixed(1)}L${time.x(from).toFixed(1)} ${y(low).toFixed(1)}`);
  return `M${upper.join("L")}L${lower.join("L")}Z`;
}

/** Return the slots of a plan as [from_s, until_s, value] of a list. */
export const slots = (plan, values) => values.map((value, i) => [plan.start_s + i * plan.slot_s, plan.start_s + (i + 1) * plan.slot_s, value]);

/** Return planned watts in a zone as [from_s, until_s, watts], ascending, from what runs and is planned. */
export function planned(plan, zone, now_s) {
  const turns = [];
  for (const job of plan.jobs) {
    for (const piece of job.pieces) {
      if (piece.zone !== zone || piece.end_s <= now_s) continue;
      turns.push([Math.max(now_s, piece.start_s), job.power_w * piece.width], [piece.end_s, -job.power_w * piece.width]);
    }
  }
  turns.sort(([a], [b]) => a - b);
  const found = [];
  let power_w = 0;
  let from_s = now_s;
  for (const [at_s, change_w] of turns) {
    if (at_s > from_s) found.push([from_s, at_s, Math.max(0, power_w)]);
    power_w += change_w;
    from_s = at_s;
  }
  return found;
}
