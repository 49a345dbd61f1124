// The cluster at a glance: is it well, how full is it, what has just happened.
import { get, kindOf, listPage, pageOf, pathOf, TABLE } from "../api.js";
import { append, badge, empty, h, replace, tone } from "../dom.js";
import { follow } from "../events.js";
import { titleOf } from "../main.js";
import { namespace } from "../place.js";
import { Rows } from "../rows.js";

const COUNTED = [["core", "pods"], ["apps", "deployments"], ["apps", "statefulsets"], ["batch", "jobs"], ["core", "services"], ["core", "persistentvolumeclaims"], ["core", "namespaces"]];
const USAGE = 15000;

export async function show(place) {
  const where = namespace();
  const health = h("div", { class: "chips" }), tiles = h("div", { class: "tiles" }), nodes = h("section", { class: "card" }, h("h2", {}, "Nodes and capacity"), h("div", {}, "…"));
  const troubled = h("section", { class: "card" }, h("h2", {}, "Pods that need attention"), h("div", {}, "…")), events = h("section", { class: "card" }, h("h2", {}, "What has just happened"));
  const list = h("div", {});
  events.append(list);
  append(place, [h("div", { class: "head" }, h("h1", {}, "Overview"), h("span", { class: "muted" }, where || "whole cluster"), h("span", { class: "spacer" }), health), tiles, h("div", { class: "grid wide" }, nodes, troubled), events]);
  showHealth(health);
  const closers = [counts(tiles, where), capacity(nodes.lastElementChild), trouble(troubled.lastElementChild, where), follow(list, { namespace: where, most: 40, none: "Events are kept for an hour." })];
  return () => closers.forEach((close) => close());
}

async function showHealth(holder) {
  const parts = [["/livez", "alive"], ["/readyz", "ready"]].map(async ([path, word]) => {
    try {
      const answer = await get(path, { accept: "*/*" });
      return badge(`API server ${word}`, String(answer).startsWith("ok") ? "good" : "bad");
    } catch (error) {
      return badge(`API server not ${word}`, error.code === 403 ? "" : "bad");
    }
  });
  const version = get("/version").then((found) => h("span", { class: "badge" }, found.gitVersion)).catch(() => null);
  replace(holder, await Promise.all([...parts, version]));
}

// Numbers of objects, which the server counts: one object is fetched of each kind.
function counts(tiles, where) {
  const shown = COUNTED.map(([group, plural]) => kindOf(group, plural)).filter((kind) => kind && !(where && !kind.namespaced));
  const figures = shown.map((kind) => {
    const figure = h("div", { class: "figure" }, "…"), note = h("div", { class: "note" });
    tiles.append(h("a", { class: "card tile", href: listPage(kind) }, figure, h("div", { class: "name" }, titleOf(kind)), note));
    return { kind, figure, note };
  });
  const count = async ({ kind, figure, note }) => {
    try {
      const list = await get(`${pathOf(kind, { namespace: kind.namespaced ? where : "" })}?limit=1`, { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json" });
      figure.textContent = String(list.items.length + (list.metadata.remainingItemCount || 0));
    } catch (error) {
      figure.textContent = "–";
      note.textContent = error.code === 403 ? "no right to list" : "not known";
    }
  };
  let closed = false, timer = 0, busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    await Promise.all(figures.map(count));
    busy = false;
    if (again && !closed) { again = false; later(); }
  };
  const later = () => { clearTimeout(timer); timer = setTimeout(refresh, 700); };
  refresh();
  addEventListener("cluster-changed", later);
  return () => { closed = true; clearTimeout(timer); removeEventListener("cluster-changed", later); };
}

function capacity(holder) {
  const usage = new Map();
  let latest = null;
  const metrics = { group: "metrics.k8s.io", version: "v1beta1", plural: "nodes", namespaced: false };
  const measure = async () => {
    try {
      for (const item of (await get(pathOf(metrics))).items) usage.set(item.metadata.name, item.usage);
      if (latest) paint(latest);
    } catch { /* without a metrics server there are no bars */ }
  };
  const paint = (found) => {
    latest = found;
    const items = [...found.items.values()];
    if (!items.length) return replace(holder, empty("No nodes", "A node appears when its kubelet registers.", "server"));
    const total = { cpu: [0, 0], memory: [0, 0] };
    const rows = items.map((node) => {
      const { cpu, memory, pods } = node.status.allocatable || {}, used = usage.get(node.metadata.name);
      total.cpu[1] += cores(cpu); total.memory[1] += bytes(memory);
      if (used) { total.cpu[0] += cores(used.cpu); total.memory[0] += bytes(used.memory); }
      const ready = (node.status.conditions || []).find((each) => each.type === "Ready")?.status === "True";
      return h("tr", {}, h("td", {}, h("a", { href: pageOf(kindOf("core", "nodes"), "", node.metadata.name) }, node.metadata.name)), h("td", {}, badge(ready ? "Ready" : "NotReady", ready ? "good" : "bad")),
        h("td", { class: "num" }, `${cores(cpu).toFixed(0)} cores`), h("td", { class: "num" }, size(bytes(memory))), h("td", { class: "num" }, `${pods} pods`));
    });
    const known = usage.size > 0;
    replace(holder, h("div", { class: "tabpanel" },
      known && meter("CPU", total.cpu[0], total.cpu[1], (value) => `${value.toFixed(value < 10 ? 2 : 0)} cores`), known && meter("Memory", total.memory[0], total.memory[1], size),
      h("div", { class: "overflow" }, h("table", { class: "plain" }, h("tbody", {}, rows.slice(0, 12)))), rows.length > 12 && h("a", { href: listPage(kindOf("core", "nodes")) }, `all ${rows.length} nodes`)));
  };
  const rows = new Rows(pathOf(kindOf("core", "nodes")), { asTable: false, onchange: paint, onerror: () => replace(holder, h("p", { class: "muted" }, "You may not list nodes.")) });
  measure();
  // Metrics cannot be watched: the metrics server measures anew every 15 seconds.
  const timer = setInterval(() => !document.hidden && measure(), USAGE);
  return () => { rows.close(); clearInterval(timer); };
}

export function meter(name, used, most, write) {
  const share = most ? used / most : 0;
  const bar = h("i", { class: share > 0.9 ? "full" : share > 0.75 ? "hot" : null, style: { width: `${Math.min(100, share * 100)}%` } });
  return h("div", { class: "meter" }, h("div", { class: "line" }, h("span", { class: "muted" }, name), h("span", { class: "num" }, `${write(used)} of ${write(most)} · ${Math.round(share * 100)} %`)),
    h("div", { class: "bar", role: "meter", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(share * 100)) }, bar));
}

export function cores(text = "0") {
  const units = { n: 1e-9, u: 1e-6, m: 1e-3 };
  return parseFloat(text) * (units[String(text).slice(-1)] || 1);
}

export function bytes(text = "0") {
  const [, number, unit] = String(text).match(/^([\d.]+)([A-Za-z]*)$/) || [0, 0, ""];
  const powers = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
  return Number(number) * (powers[unit] || 1);
}

export function size(value) {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}

// Only pods that neither run nor have succeeded are fetched; the other kind of trouble shows in their events.
function trouble(holder, where) {
  const kind = kindOf("core", "pods");
  const rows = new Rows(pathOf(kind, { namespace: where }), {
    query: { fieldSelector: "status.phase!=Running,status.phase!=Succeeded" }, most: 500,
    onchange: (found) => {
      dispatchEvent(new CustomEvent("cluster-changed"));
      const place = found.columns.findIndex((column) => column.name === "Status");
      const items = [...found.items.values()];
      if (found.complete && !items.length) return replace(holder, empty("All is well", "Every pod runs or has done its work.", "box"));
      replace(holder, h("div", { class: "overflow" }, h("table", { class: "plain" }, h("tbody", {}, items.slice(0, 12).map((item) => h("tr", {}, h("td", {}, h("a", { href: pageOf(kind, item.object.metadata.namespace, item.object.metadata.name) }, item.object.metadata.name), h("div", { class: "faint" }, item.object.metadata.namespace)), h("td", {}, badge(item.cells[place], tone(item.cells[place])))))))), items.length > 12 && h("p", { class: "muted" }, `and ${items.length - 12} more`));
    },
    onerror: (error) => replace(holder, h("p", { class: "muted" }, error.code === 403 ? "You may not list pods here; choose a namespace above." : error.message)),
  });
  return () => rows.close();
}
