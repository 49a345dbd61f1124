// The API server through the dashboard's server: requests, the session, what kinds there are.

export class ApiError extends Error {
  constructor(status) {
    super(status.message || `the server answered ${status.code}`);
    this.status = status;
    this.code = status.code || 0;
  }
}

export const session = { user: null, guard: "", namespace: "" };
export const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/** Milliseconds to wait before what only reads is asked again: browsers drop all requests when a network interface comes or goes. */
const AGAIN = [200, 1000];

async function reach(target, options) {
  for (const wait of options.method === "GET" ? AGAIN : []) {
    try {
      return await fetch(target, options);
    } catch {
      await new Promise(done => setTimeout(done, wait));
    }
  }
  return fetch(target, options);
}

/** Ask and read the answer: an object for JSON, else text. Raises ApiError. */
export async function request(method, target, { body, type = "application/json", accept = "application/json", headers = {}, quiet = false } = {}) {
  const sent = { Accept: accept, ...headers };
  if (body !== undefined) sent["Content-Type"] = type;
  if (method !== "GET") sent["X-Pynetes-Guard"] = session.guard;
  let answer;
  try {
    answer = await reach(target.replace(/^\//, ""), {
      method, headers: sent, credentials: "same-origin", cache: "no-cache",
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
  } catch {
    throw new ApiError({ code: 0, message: "The dashboard cannot be reached." });
  }
  const json = (answer.headers.get("Content-Type") || "").startsWith("application/json");
  const result = json ? await answer.json() : await answer.text();
  if (answer.ok) return result;
  const status = json && result.kind === "Status" ? result : { code: answer.status, message: String(json ? result.message : result).slice(0, 500) };
  status.code = status.code || answer.status;
  if (answer.status === 401 && !quiet && target !== "/session") dispatchEvent(new CustomEvent("logged-out", { detail: status.message }));
  throw new ApiError(status);
}

export const get = (target, options) => request("GET", target, options);

export async function resume() {
  Object.assign(session, await get("/session"));
  return Boolean(session.user);
}

export async function login(credential) {
  Object.assign(session, await request("POST", "/session", { body: { credential } }));
}

export async function logout() {
  await request("DELETE", "/session").catch(() => {});
  session.user = null;
}

const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/** Every kind of the cluster: {group, version, plural, kind, namespaced, verbs, subresources, short}. */
export const kinds = [];

/** Read what kinds there are; a group that does not answer is left out. quiet: nobody may be logged in yet. */
export async function discover({ quiet = false } = {}) {
  const found = [];
  const documents = await Promise.all(["/api", "/apis"].map((path) => get(path, { accept: DISCOVERY, quiet })));
  for (const group of documents.flatMap((document) => document.items || [])) {
    const version = (group.versions || [])[0];
    for (const each of version ? version.resources || [] : []) {
      found.push({
        group: (group.metadata || {}).name || "", version: version.version, plural: each.resource, kind: each.responseKind?.kind || each.resource,
        namespaced: each.scope === "Namespaced", verbs: each.verbs || [], short: each.shortNames || [],
        subresources: (each.subresources || []).map((sub) => sub.subresource),
      });
    }
  }
  kinds.splice(0, kinds.length, ...found);
}

/** The kind by its group ("core" or "" for the first) and plural. */
export function kindOf(group, plural) {
  const name = group === "core" ? "" : group;
  return kinds.find((each) => each.group === name && each.plural === plural);
}

/** The kind that apiVersion and kind name. */
export function kindNamed(apiVersion, kind) {
  const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
  return kinds.find((each) => each.group === group && each.kind === kind);
}

/** The path of a kind's collection or of one object. */
export function pathOf(kind, { namespace = "", name = "", subresource = "" } = {}) {
  const parts = kind.group ? ["apis", kind.group, kind.version] : ["api", kind.version];
  if (kind.namespaced && namespace) parts.push("namespaces", namespace);
  parts.push(kind.plural);
  if (name) parts.push(name);
  if (subresource) parts.push(subresource);
  return "/" + parts.map(encodeURIComponent).join("/");
}

/** Where an object has its page. */
export function pageOf(kind, namespace, name, tab = "") {
  const parts = ["object", kind.group || "core", kind.plural, namespace || "-", name, tab].filter(Boolean);
  return "#/" + parts.map(encodeURIComponent).join("/");
}

export function listPage(kind) {
  return `#/list/${encodeURIComponent(kind.group || "core")}/${encodeURIComponent(kind.plural)}`;
}

/** May I? Asks the API server. */
export async function may(verb, kind, { namespace = "", name = "", subresource = "" } = {}) {
  const spec = { resourceAttributes: { verb, group: kind.group, resource: kind.plural, subresource, namespace, name } };
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
  try {
    return (await request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { body })).status.allowed;
  } catch {
    return false;
  }
}
