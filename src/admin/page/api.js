// The admin API: requests with the token in a header, and its problems (RFC 9457) as errors.

const KEY = "polygate-token";

/** Asks for a token; set by the page. Resolves when there is one to try. */
let askForToken = () => Promise.reject(new Error("a token is needed"));
let asking = null;

export function onTokenNeeded(ask) {
  askForToken = ask;
}

/** The token lives as long as the tab. */
export function setToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

export function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}`, ...more } : more;
}

/** What the API refused, and why. */
export class Refused extends Error {
  constructor(problem, status) {
    super(problem.detail ?? `status ${status}`);
    Object.assign(this, { status, errors: problem.errors ?? [] });
  }
}

/** Nobody answered. */
export class Unreachable extends Error {}

/** Waits for a token; all who need one at a time wait for the same. */
function tokenNeeded(wrong) {
  asking ??= askForToken(wrong).finally(() => { asking = null; });
  return asking;
}

/** Sends a request again once there is a token that is let in. */
export async function fetchWithToken(path, options = {}) {
  for (;;) {
    const sent = headers(options.headers);
    let response;
    try {
      response = await fetch(path, { ...options, headers: sent, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable("the gateway does not answer");
    }
    if (response.status !== 401) return response;
    await tokenNeeded("Authorization" in sent);
  }
}

async function request(method, path, body, type = "application/json") {
  const options = { method };
  if (body !== undefined) {
    options.body = type === "application/json" ? JSON.stringify(body) : body;
    options.headers = { "Content-Type": type };
  }
  const response = await fetchWithToken(path, options);
  if (response.ok) {
    return response.status === 204 ? null : response.json();
  }
  const problem = await response.json().catch(() => ({}));
  throw new Refused(problem, response.status);
}

export const get = (path) => request("GET", path);
export const post = (path, body) => request("POST", path, body);
export const put = (path, body) => request("PUT", path, body);
export const patch = (path, body) => request("PATCH", path, body);
export const remove = (path) => request("DELETE", path);
export const postText = (path, text) => request("POST", path, text, "application/toml");

/** Something else than JSON, as text. */
export async function getText(path, accept) {
  const response = await fetchWithToken(path, { headers: { Accept: accept } });
  if (!response.ok) throw new Refused(await response.json().catch(() => ({})), response.status);
  return response.text();
}

/** A path with what stands in it and a query; what is empty is left out. */
export function at(parts, query = {}) {
  const path = parts.map(encodeURIComponent).join("/");
  const pairs = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return pairs.length > 0 ? `${path}?${new URLSearchParams(pairs)}` : path;
}
