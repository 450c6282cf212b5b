// Who is logged in, and asking for what takes a log-in. The cookie is out of any script's reach; what changes something
// repeats the session's own token in a header, which no other site can read.

import { useEffect, useState } from "/page/vendor/htm-preact.js";
import { ApiError, getJson, readJson } from "/page/lib/api.js";

const PATH = "/api/v1/session";

let known = null;
const listeners = new Set();

function tell(session) {
  known = session;
  listeners.forEach((listener) => listener(session));
  return session;
}

/** Ask anew who is logged in. */
export const lookAgain = () => getJson(PATH).then(tell);

/** Return [session, trouble]; session is null until it is known. */
export function useSession() {
  const [session, setSession] = useState(known);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    listeners.add(setSession);
    lookAgain().catch((error) => setTrouble(error.message));
    return () => listeners.delete(setSession);
  }, []);
  return [session, trouble];
}

/** Log in with a token; throws ApiError. */
export async function logIn(token) {
  return tell(await change("POST", PATH, { token }));
}

/** Log out. */
export async function logOut() {
  await change("DELETE", PATH);
  return lookAgain();
}

/** Send what changes something; returns the answer, null where there is none; throws ApiError. */
export async function change(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers, "X-Evenwatt-CSRF": known?.csrf ?? "" }, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(15_000) });
  } catch {
    throw new ApiError("The collector did not answer; it is not known whether it was done. Look at what holds before you ask again.", 0);
  }
  if (answer.status === 204) return null;
  const said = await readJson(answer);
  if (answer.status === 401 && known?.name) lookAgain().catch(() => {});
  if (!answer.ok) throw new ApiError(`${sentence(said?.error ?? `status ${answer.status}`)}.`, answer.status);
  return said;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
