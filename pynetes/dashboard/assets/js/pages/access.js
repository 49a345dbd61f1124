// What somebody may do: the rules that the API server's authorizers give for them in one namespace.
import { ApiError, request, session } from "../api.js";
import { append, empty, h, problem, replace } from "../dom.js";
import { namespace } from "../place.js";

export async function show(place) {
  const user = h("input", { id: "user", placeholder: session.user.username, spellcheck: "false", "aria-describedby": "user-note" });
  const group = h("input", { id: "group", placeholder: "in a group", "aria-label": "Group", spellcheck: "false" });
  const where = h("input", { id: "where", value: namespace() || "default", required: true, spellcheck: "false" });
  const holder = h("div", { class: "tabpanel", "aria-live": "polite" });
  append(place, [h("h1", {}, "What may I do"),
    h("form", { class: "card head", onsubmit: (event) => { event.preventDefault(); tell(); } }, h("label", { for: "where" }, "In the namespace"), where, h("label", { for: "user" }, "as"), user, group, h("button", { class: "primary" }, "Show"),
      h("span", { class: "faint", id: "user-note" }, "Somebody else's rights are shown if you may impersonate them.")), holder]);
  const tell = async () => {
    const headers = {};
    if (user.value.trim()) headers["Impersonate-User"] = user.value.trim();
    if (group.value.trim() && headers["Impersonate-User"]) headers["Impersonate-Group"] = group.value.trim();
    const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectRulesReview", spec: { namespace: where.value.trim() } };
    try {
      const { status } = await request("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", { body, headers });
      replace(holder, summary(status), rules(status));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      replace(holder, problem(error));
    }
  };
  await tell();
}

const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

function summary(status) {
  const all = (status.resourceRules || []).some((rule) => rule.verbs.includes("*") && rule.resources?.includes("*") && rule.apiGroups?.includes("*") && !rule.resourceNames?.length);
  return [all && h("div", { class: "notice warn" }, "Everything: this user may do anything to any object."), status.incomplete && h("div", { class: "notice" }, "The list may be incomplete: not every authorizer can list its rules.")];
}

function rules(status) {
  const rows = new Map();
  for (const rule of status.resourceRules || []) {
    for (const group of rule.apiGroups || [""]) {
      for (const resource of rule.resources || []) {
        const names = (rule.resourceNames || []).join(", ");
        const key = `${group}\n${resource}\n${names}`;
        rows.set(key, new Set([...(rows.get(key) || []), ...rule.verbs]));
      }
    }
  }
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
  const has = (verbs, verb) => verbs.has(verb) || verbs.has("*");
  const mark = (verbs, verb) => h("td", { class: "num" }, has(verbs, verb) ? h("span", { class: "badge good" }, h("span", { class: "visually-hidden" }, `may ${verb}`)) : h("span", { class: "faint" }, "–"));
  const urls = (status.nonResourceRules || []).flatMap((rule) => (rule.nonResourceURLs || []).map((url) => `${rule.verbs.join(", ")} ${url}`));
  return [h("section", { class: "card" }, h("h2", {}, "Objects"), sorted.length ? h("div", { class: "overflow" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["Resource", "Group", ...VERBS.slice(0, 7), "other"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, sorted.map(([key, verbs]) => {
      const [group, resource, names] = key.split("\n");
      const other = [...verbs].filter((verb) => !VERBS.includes(verb) && verb !== "*");
      return h("tr", {}, h("td", {}, h("strong", {}, resource), names && h("div", { class: "faint" }, `only ${names}`)), h("td", { class: "muted" }, group || "core"), VERBS.slice(0, 7).map((verb) => mark(verbs, verb)), h("td", {}, other.join(", ")));
    })))) : empty("No rights to objects here", "Not even to read.", "key")),
  urls.length > 0 && h("section", { class: "card" }, h("h2", {}, "URLs"), h("div", { class: "chips" }, [...new Set(urls)].sort().map((each) => h("span", { class: "chip" }, each))))];
}
