// What an object is, at a glance: its own facts by kind, then what every object has.
import { kindNamed, pageOf } from "./api.js";
import { age, append, badge, h, replace, tone } from "./dom.js";
import { PARTS } from "./parts.js";

/** Words for an object's state, with their colours. */
export function stateOf(kind, object) {
  const status = object.status || {};
  if (object.metadata.deletionTimestamp) return [["Terminating", "warn"]];
  if (kind.plural === "pods") return [podState(object)];
  if (kind.plural === "nodes") return nodeState(object);
  if (["deployments", "statefulsets", "replicasets"].includes(kind.plural)) {
    const wanted = object.spec.replicas ?? 1, ready = status.readyReplicas || 0;
    return [[`${ready}/${wanted} ready`, ready >= wanted ? "good" : "warn"]];
  }
  if (kind.plural === "daemonsets") return [[`${status.numberReady || 0}/${status.desiredNumberScheduled || 0} ready`, (status.numberReady || 0) >= (status.desiredNumberScheduled || 0) ? "good" : "warn"]];
  if (typeof status.phase === "string") return [[status.phase, tone(status.phase)]];
  const conditions = Array.isArray(status.conditions) ? status.conditions : [];
  return conditions.filter((each) => each.status === "True" && ["Ready", "Available", "Complete", "Failed", "Established"].includes(each.type)).slice(0, 2).map((each) => [each.type, each.type === "Failed" ? "bad" : "good"]);
}

function podState(pod) {
  const statuses = [...(pod.status?.initContainerStatuses || []), ...(pod.status?.containerStatuses || [])];
  const waiting = statuses.map((each) => each.state?.waiting?.reason).find((reason) => reason && reason !== "PodInitializing");
  const word = waiting || pod.status?.reason || pod.status?.phase || "Unknown";
  return [word, tone(word)];
}

function nodeState(node) {
  const ready = (node.status?.conditions || []).find((each) => each.type === "Ready")?.status === "True";
  return [[ready ? "Ready" : "NotReady", ready ? "good" : "bad"], ...(node.spec?.unschedulable ? [["SchedulingDisabled", "warn"]] : [])];
}

export function show(place, kind, object) {
  const paint = (news) => {
    const focused = place.contains(document.activeElement);
    if (focused && place.querySelector("[data-busy]")) return; // what is being read, a revealed secret first of all, stays
    const parts = PARTS[kind.plural] ? PARTS[kind.plural](news, kind) : [];
    replace(place, h("div", { class: "grid wide" }, card("About", about(news)), parts.filter(Boolean), conditions(news)));
  };
  paint(object);
  return { update: paint };
}

export function card(title, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), content);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function chips(labels) {
  const entries = Object.entries(labels || {});
  return entries.length ? h("div", { class: "chips" }, entries.map(([key, value]) => h("span", { class: "chip" }, value ? `${key}=${value}` : key))) : "";
}

/** A link to an object that is named by apiVersion, kind and name. */
export function linkTo(reference, namespace) {
  const kind = kindNamed(reference.apiVersion || "v1", reference.kind);
  const text = `${reference.kind} ${reference.name}`;
  return kind ? h("a", { href: pageOf(kind, kind.namespaced ? namespace : "", reference.name) }, text) : text;
}

function about(object) {
  const { metadata } = object;
  const managers = [...new Set((metadata.managedFields || []).map((each) => each.manager))];
  const annotations = Object.entries(metadata.annotations || {}).filter(([key]) => !key.endsWith("last-applied-configuration"));
  return facts([
    ["Created", `${age(metadata.creationTimestamp)} ago, ${new Date(metadata.creationTimestamp).toLocaleString()}`],
    ["Owner", metadata.ownerReferences?.map((each) => h("div", {}, linkTo(each, metadata.namespace)))],
    ["Labels", chips(metadata.labels)],
    ["Annotations", annotations.length ? h("div", { class: "chips" }, annotations.map(([key, value]) => h("span", { class: "chip" }, `${key}: ${value.slice(0, 300)}`))) : ""],
    ["Finalizers", metadata.finalizers?.join(", ")],
    ["Changed by", managers.join(", ")],
    ["Revision", h("span", { class: "mono" }, metadata.resourceVersion)],
    ["UID", h("span", { class: "mono" }, metadata.uid)],
  ]);
}

function conditions(object) {
  const list = object.status?.conditions;
  if (!Array.isArray(list) || !list.length) return null;
  return card("Conditions", h("div", { class: "overflow" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["Type", "Status", "Reason", "Since"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, list.map((each) => h("tr", {}, h("td", {}, each.type), h("td", {}, badge(each.status, healthy(each) ? "good" : each.status === "Unknown" ? "warn" : "bad")),
      h("td", {}, each.reason || "", each.message ? h("div", { class: "muted" }, each.message) : ""), h("td", { class: "num" }, age(each.lastTransitionTime))))))));
}

// Pressure, failure and the like are good when they are false.
function healthy(condition) {
  return /Pressure|Unavailable|Failed|Failure|Problem|Disruption|NamesConflict|Suspended|NonStructural|Terminating/.test(condition.type) ? condition.status === "False" : condition.status === "True";
}
