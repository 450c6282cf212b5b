// Figures as people read them: three digits that count, always with their unit. What is not known is a dash.

export const NONE = "–";

const GAP = "\u202f"; // a narrow space that does not break

function known(value) {
  return value !== null && value !== undefined && Number.isFinite(value);
}

function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(size >= 0.01 ? 2 : 3);
}

/** Return a value with the largest of `units` ([size, name], largest first) that leaves at least one. */
function scaled(value, units) {
  if (!known(value)) return NONE;
  const size = Math.abs(value) * 1.0005; // 999.6 W would be shown as 1000 W
  const [step, name] = units.find(([least]) => size >= least) ?? units.at(-1);
  return digits(value / step) + GAP + name;
}

const WATTS = [[1e6, "MW"], [1e3, "kW"], [1, "W"]];
const GRAMS = [[1e6, "t"], [1e3, "kg"], [1, "g"], [1e-3, "mg"], [1e-6, "µg"]];
const ENERGY = [[3.6e9, "MWh"], [3.6e6, "kWh"], [3.6e3, "Wh"]];
const LEAST_WH = 0.1;
const JOULES = [[1e9, "GJ"], [1e6, "MJ"], [1e3, "kJ"], [1, "J"], [1e-3, "mJ"]];

export const watts = (value_w) => scaled(value_w, WATTS);
export const grams = (value_g) => (value_g === 0 ? `0${GAP}g` : scaled(value_g, GRAMS));
export const gramsPerHour = (value_g) => (known(value_g) ? `${grams(value_g)}/h` : NONE);
/** Energy in hours of watts, as bills have it. */
export const energy = (value_j) => (Math.abs(value_j) >= LEAST_WH * 3600 ? scaled(value_j, ENERGY) : joules(value_j));
/** Energy in joules, as counters have it. */
export const joules = (value_j) => (value_j === 0 ? `0${GAP}J` : scaled(value_j, JOULES));
export const intensity = (value) => (known(value) ? `${digits(value)}${GAP}g/kWh` : NONE);

/** A whole number, thousands apart. */
export function count(value) {
  return known(value) ? Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, GAP) : NONE;
}

/** A number with what is counted: `many(1, "node")`, `many(2, "node")`; a plural that is not `s` stands third. */
export function many(value, one, several = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : several}`;
}

/** A share of one as per cent. */
export function percent(share, places = 0) {
  return known(share) ? `${(share * 100).toFixed(places)}${GAP}%` : NONE;
}

/** A length of time in its two largest units. */
export function duration(value_s) {
  if (!known(value_s)) return NONE;
  if (value_s < 0) return `−${duration(-value_s)}`;
  if (value_s < 1) return `${Math.round(value_s * 1000)}${GAP}ms`;
  if (value_s < 10) return `${value_s.toFixed(value_s < 9.95 ? 1 : 0)}${GAP}s`;
  const whole_s = Math.round(value_s);
  if (whole_s < 60) return `${whole_s}${GAP}s`;
  const units = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => whole_s >= size);
  const [size, name] = units[first];
  const [smaller, lesser] = units[first + 1];
  const rest = Math.floor((whole_s % size) / smaller);
  return `${Math.floor(whole_s / size)}${GAP}${name}` + (rest ? ` ${rest}${GAP}${lesser}` : "");
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** The time of day of a moment (Unix milliseconds), in the time zone of the reader. */
export function clock(at_ms, seconds = true) {
  if (!known(at_ms)) return NONE;
  const at = new Date(at_ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}` + (seconds ? `:${two(at.getSeconds())}` : "");
}

/** A moment (Unix milliseconds) with its day. */
export function moment(at_ms) {
  if (!known(at_ms)) return NONE;
  const at = new Date(at_ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]}${GAP}${clock(at_ms, false)}`;
}

/** The day of a moment (Unix milliseconds). */
export function day(at_ms) {
  if (!known(at_ms)) return NONE;
  const at = new Date(at_ms);
  return `${at.getDate()}${GAP}${MONTHS[at.getMonth()]}`;
}
