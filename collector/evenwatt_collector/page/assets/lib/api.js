// Asking the collector. What goes wrong is said in one sentence.

const PATIENCE_MS = 15_000;
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/**
 * Return what a JSON text holds. Marks that turn the direction of writing are made visible: with them, a name or a reason
 * could make the figures beside it read backwards.
 */
export const parse = (text) => JSON.parse(text.replace(TURNS, "\ufffd"));

/** Return the JSON of an answer; null where it is none. */
export const readJson = (answer) => answer.text().then(parse).catch(() => null);

/** Something that was asked and not answered; `status` is that of HTTP, or 0 without an answer. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Return the JSON at a path of this collector; throws ApiError. `options` as for fetch. */
export async function getJson(path, options = {}) {
  let answer;
  try {
    const signal = options.signal ?? AbortSignal.timeout(PATIENCE_MS);
    answer = await fetch(path, { credentials: "same-origin", ...options, signal });
  } catch (error) {
    const why = error.name === "TimeoutError" ? `no answer within ${PATIENCE_MS / 1000} s` : "it cannot be reached";
    throw new ApiError(`The collector did not answer: ${why}.`, 0);
  }
  const body = await readJson(answer);
  if (!answer.ok) {
    const why = body?.error ?? body?.reasons?.join("; ") ?? `status ${answer.status}`;
    throw new ApiError(`The collector refused ${path.split("?")[0]}: ${why}.`, answer.status);
  }
  if (body === null) {
    throw new ApiError(`The collector's answer to ${path.split("?")[0]} was no JSON.`, answer.status);
  }
  return body;
}
