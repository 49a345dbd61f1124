// The facts that only some kinds have. Each gives cards for the overview of an object.
import { get, kindOf, pageOf, pathOf } from "./api.js";
import { age, badge, h, replace, toast } from "./dom.js";
import { card, chips, facts, linkTo } from "./summary.js";

function table(names, rows) {
  return h("div", { class: "overflow" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

function link(plural, namespace, name, group = "core") {
  const kind = kindOf(group, plural);
  return kind && name ? h("a", { href: pageOf(kind, namespace, name) }, name) : name;
}

function podSpec(spec, statuses = []) {
  return (spec.containers || []).concat((spec.initContainers || []).map((each) => ({ ...each, init: true }))).map((container) => {
    const status = statuses.find((each) => each.name === container.name);
    const [state, detail] = Object.entries(status?.state || {})[0] || [];
    const { requests = {}, limits = {} } = container.resources || {};
    const pair = (name) => (requests[name] || limits[name] ? `${requests[name] || "–"} / ${limits[name] || "–"}` : "");
    return card(`${container.init ? "Init container" : "Container"} ${container.name}`, facts([
      ["State", state && h("span", {}, badge(detail?.reason || (status.ready ? "Ready" : state), status.ready || detail?.exitCode === 0 ? "good" : undefined), " ", detail?.startedAt ? `for ${age(detail.startedAt)}` : detail?.message || "")],
      ["Restarts", status?.restartCount || ""],
      ["Last end", status?.lastState?.terminated && `${status.lastState.terminated.reason}, exit code ${status.lastState.terminated.exitCode}, ${age(status.lastState.terminated.finishedAt)} ago`],
      ["Image", h("span", { class: "mono" }, container.image)],
      ["Command", (container.command || container.args) && h("span", { class: "mono" }, [...(container.command || []), ...(container.args || [])].join(" ").slice(0, 600))],
      ["Ports", (container.ports || []).map((port) => `${port.name ? `${port.name} ` : ""}${port.containerPort}/${port.protocol || "TCP"}`).join(", ")],
      ["CPU", pair("cpu") && `${pair("cpu")} (request / limit)`],
      ["Memory", pair("memory") && `${pair("memory")} (request / limit)`],
      ["Environment", chips(Object.fromEntries((container.env || []).map((each) => [each.name, each.value ?? (each.valueFrom ? "from " + Object.keys(each.valueFrom)[0].replace("Ref", "") : "")])))],
      ["Mounts", (container.volumeMounts || []).map((each) => h("div", {}, h("span", { class: "mono" }, each.mountPath), ` from ${each.name}${each.readOnly ? ", read only" : ""}`))],
    ]));
  });
}

function workload(object) {
  const { spec, status = {} } = object;
  return [card("Rollout", facts([
    ["Replicas", spec.replicas !== undefined ? `${spec.replicas} wanted, ${status.readyReplicas || 0} ready, ${status.updatedReplicas ?? status.replicas ?? 0} of this version` : ""],
    ["Strategy", spec.strategy?.type || spec.updateStrategy?.type],
    ["Selector", chips(spec.selector?.matchLabels)],
    ["Service", spec.serviceName && link("services", object.metadata.namespace, spec.serviceName)],
  ])), pods(object.metadata.namespace, spec.selector?.matchLabels), ...podSpec(spec.template?.spec || {})];
}

// The pods behind a selector: a small list, as it is when the page is opened.
function pods(namespace, labels) {
  if (!labels || !Object.keys(labels).length) return null;
  const holder = h("div", {}, "…"), kind = kindOf("core", "pods");
  const selector = Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(",");
  return card("Pods", list(holder, kind, { namespace, labelSelector: selector }));
}

function list(holder, kind, { namespace = "", ...query }) {
  get(`${pathOf(kind, { namespace })}?${new URLSearchParams({ ...query, limit: "200" })}`).then((found) => {
    replace(holder, found.items.length ? table(["Name", "State", "Node", "Age"], found.items.map((pod) => [link("pods", pod.metadata.namespace, pod.metadata.name), badge(pod.status.phase), pod.spec.nodeName || "", age(pod.metadata.creationTimestamp)])) : h("span", { class: "muted" }, "None"));
  }).catch((error) => replace(holder, h("span", { class: "muted" }, error.message)));
  return holder;
}

const MASK = "••••••••";

function secret(object) {
  return [card("Data", Object.keys(object.data || {}).length ? facts(Object.entries(object.data).map(([key, value]) => [h("span", { class: "mono" }, key), hidden(key, value)])) : h("span", { class: "muted" }, "It is empty."),
    h("p", { class: "faint" }, `Type ${object.type}`))];
}

// Shown only on demand, and one value at a time.
function hidden(key, value) {
  const size = atob(value).length;
  const shown = h("span", { class: "mono" }, MASK);
  const copy = h("button", { class: "quiet", hidden: true, onclick: () => navigator.clipboard?.writeText(plain(value)).then(() => toast("Copied")) }, "Copy");
  const button = h("button", { class: "quiet", "aria-pressed": "false", "aria-label": `Show ${key}`, onclick: () => {
    const open = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(open));
    button.toggleAttribute("data-busy", open);
    button.textContent = open ? "Hide" : "Show";
    copy.hidden = !open;
    replace(shown, open ? h("pre", {}, plain(value)) : MASK);
  } }, "Show");
  return h("div", {}, shown, " ", h("span", { class: "faint" }, `${size} bytes`), button, copy);
}

function plain(value) {
  const bytes = Uint8Array.from(atob(value), (each) => each.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return `${bytes.length} bytes that are no text`;
  }
}

function rules(object) {
  const none = h("span", { class: "muted" }, "No rule: it allows nothing.");
  return [card("Rules", object.rules?.length ? table(["Resources", "Verbs", "Groups"], object.rules.map((rule) => [
    h("div", { class: "chips" }, [...(rule.resources || []), ...(rule.nonResourceURLs || []), ...(rule.resourceNames || []).map((name) => `named ${name}`)].map((each) => h("span", { class: "chip" }, each))),
    (rule.verbs || []).join(", "), (rule.apiGroups || []).map((each) => each || "core").join(", ")])) : none)];
}

function binding(object) {
  const role = object.roleRef;
  return [card("Who has what", facts([["Role", linkTo({ apiVersion: `${role.apiGroup}/v1`, kind: role.kind, name: role.name }, object.metadata.namespace)]]),
    table(["Kind", "Name", "Namespace"], (object.subjects || []).map((each) => [each.kind, each.kind === "ServiceAccount" ? link("serviceaccounts", each.namespace, each.name) : each.name, each.namespace || ""])))];
}

export const PARTS = {
  pods: (pod) => [card("Where", facts([
    ["Node", link("nodes", "", pod.spec.nodeName)], ["Address", pod.status.podIPs?.map((each) => each.ip).join(", ")], ["Host", pod.status.hostIP],
    ["ServiceAccount", link("serviceaccounts", pod.metadata.namespace, pod.spec.serviceAccountName)], ["Quality of service", pod.status.qosClass], ["Priority", pod.spec.priorityClassName], ["Message", pod.status.message],
    ["Volumes", (pod.spec.volumes || []).map((each) => { const source = Object.keys(each).find((key) => key !== "name"); return h("div", {}, `${each.name}: ${source}`); })],
  ])), ...podSpec(pod.spec, [...(pod.status.containerStatuses || []), ...(pod.status.initContainerStatuses || [])])],
  deployments: workload, statefulsets: workload, daemonsets: workload, replicasets: workload,
  jobs: (job) => [card("Progress", facts([["Succeeded", `${job.status.succeeded || 0} of ${job.spec.completions ?? "any"}`], ["Failed", job.status.failed || ""], ["Active", job.status.active || ""], ["Took", job.status.completionTime && `${Math.round((Date.parse(job.status.completionTime) - Date.parse(job.status.startTime)) / 1000)} s`]])), pods(job.metadata.namespace, job.spec.selector?.matchLabels), ...podSpec(job.spec.template.spec)],
  cronjobs: (job) => [card("Schedule", facts([["When", h("span", { class: "mono" }, job.spec.schedule)], ["Time zone", job.spec.timeZone], ["Last run", age(job.status?.lastScheduleTime)], ["Suspended", job.spec.suspend ? "yes" : "no"], ["Concurrency", job.spec.concurrencyPolicy]])), ...podSpec(job.spec.jobTemplate.spec.template.spec)],
  services: (service) => [card("Address", facts([["Type", service.spec.type], ["Cluster IP", service.spec.clusterIPs?.join(", ") || service.spec.clusterIP], ["External", [...(service.status?.loadBalancer?.ingress || []).map((each) => each.ip || each.hostname), ...(service.spec.externalIPs || []), service.spec.externalName].filter(Boolean).join(", ")],
    ["Ports", (service.spec.ports || []).map((port) => h("div", {}, `${port.name ? `${port.name}: ` : ""}${port.port}/${port.protocol || "TCP"} → ${port.targetPort ?? port.port}${port.nodePort ? `, node port ${port.nodePort}` : ""}`))], ["Selector", chips(service.spec.selector)], ["Affinity", service.spec.sessionAffinity]])), pods(service.metadata.namespace, service.spec.selector)],
  ingresses: (ingress) => [card("Rules", table(["Host", "Path", "Service"], (ingress.spec.rules || []).flatMap((rule) => (rule.http?.paths || []).map((path) => [rule.host || "any", path.path || "/", link("services", ingress.metadata.namespace, path.backend.service?.name)]))))],
  configmaps: (map) => [card("Data", Object.keys({ ...map.data, ...map.binaryData }).length ? Object.entries(map.data || {}).map(([key, value]) => h("div", {}, h("h3", { class: "mono" }, key), h("pre", { class: "diff", style: { padding: "8px 12px", "white-space": "pre-wrap" } }, value.slice(0, 20000)))) : h("span", { class: "muted" }, "It is empty."), Object.keys(map.binaryData || {}).map((key) => h("div", { class: "muted" }, `${key}: binary`)))],
  secrets: secret,
  nodes: (node) => [card("System", facts([["Kubelet", node.status.nodeInfo?.kubeletVersion], ["Runtime", node.status.nodeInfo?.containerRuntimeVersion], ["Kernel", node.status.nodeInfo?.kernelVersion], ["Machine", `${node.status.nodeInfo?.osImage}, ${node.status.nodeInfo?.architecture}`], ["Addresses", (node.status.addresses || []).map((each) => h("div", {}, `${each.type} ${each.address}`))], ["Pod network", node.spec.podCIDRs?.join(", ")], ["Taints", (node.spec.taints || []).map((each) => h("div", {}, `${each.key}${each.value ? `=${each.value}` : ""}:${each.effect}`))]])),
    card("Capacity", table(["Resource", "Capacity", "Allocatable"], Object.keys(node.status.capacity || {}).map((name) => [name, node.status.capacity[name], node.status.allocatable?.[name] || ""]))),
    card("Pods", list(h("div", {}), kindOf("core", "pods"), { fieldSelector: `spec.nodeName=${node.metadata.name}` }))],
  roles: rules, clusterroles: rules, rolebindings: binding, clusterrolebindings: binding,
  persistentvolumeclaims: (claim) => [card("Storage", facts([["Volume", link("persistentvolumes", "", claim.spec.volumeName)], ["Class", link("storageclasses", "", claim.spec.storageClassName, "storage.k8s.io")], ["Asked for", claim.spec.resources?.requests?.storage], ["Has", claim.status?.capacity?.storage], ["Access", claim.spec.accessModes?.join(", ")]]))],
  persistentvolumes: (volume) => [card("Storage", facts([["Claim", volume.spec.claimRef && link("persistentvolumeclaims", volume.spec.claimRef.namespace, volume.spec.claimRef.name)], ["Size", volume.spec.capacity?.storage], ["Class", volume.spec.storageClassName], ["Driver", volume.spec.csi?.driver], ["When released", volume.spec.persistentVolumeReclaimPolicy], ["Access", volume.spec.accessModes?.join(", ")]]))],
};
