// What can be done to an object, by kind.
import { listPage, pageOf, pathOf, request } from "./api.js";
import { ask, h, toast } from "./dom.js";

const MERGE = "application/merge-patch+json";
const RESTARTED = "kubectl.kubernetes.io/restartedAt";

/** The buttons for an object; read() gives its newest state. */
export function actions(kind, read) {
  const at = () => { const { namespace, name } = read().metadata; return { namespace, name }; };
  const path = (subresource) => pathOf(kind, { ...at(), subresource });
  const patch = async (body, said, subresource) => {
    try {
      await request("PATCH", `${path(subresource)}?fieldManager=pynetes-dashboard`, { body, type: MERGE });
      toast(said);
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  const buttons = [];
  if (kind.subresources.includes("scale")) {
    buttons.push(h("button", { onclick: async () => {
      const field = h("input", { name: "replicas", type: "number", min: "0", step: "1", value: String(read().spec?.replicas ?? 1), "aria-label": "Replicas", required: true });
      const given = await ask(`Scale ${at().name}`, { fields: [h("label", {}, "Replicas "), field], action: "Scale" });
      if (given) await patch({ spec: { replicas: Number(given.get("replicas")) } }, `Scaled to ${given.get("replicas")}`, "scale");
    } }, "Scale"));
  }
  if (["deployments", "statefulsets", "daemonsets"].includes(kind.plural) && kind.group === "apps") {
    buttons.push(h("button", { onclick: () => patch({ spec: { template: { metadata: { annotations: { [RESTARTED]: new Date().toISOString() } } } } }, "Restarting, pod by pod") }, "Restart"));
  }
  if (kind.plural === "cronjobs") {
    buttons.push(h("button", { onclick: () => patch({ spec: { suspend: !read().spec.suspend } }, read().spec.suspend ? "Resumed" : "Suspended") }, "Suspend / resume"));
  }
  if (kind.plural === "nodes") {
    buttons.push(h("button", { onclick: () => patch({ spec: { unschedulable: read().spec.unschedulable ? null : true } }, read().spec.unschedulable ? "Pods may come again" : "No new pods will come") }, "Cordon / uncordon"));
  }
  if (kind.verbs.includes("patch")) buttons.push(h("button", { onclick: () => { location.hash = pageOf(kind, at().namespace, at().name, "yaml"); } }, "Edit"));
  if (kind.verbs.includes("delete")) buttons.push(h("button", { class: "danger", onclick: () => remove(kind, at()) }, "Delete"));
  return buttons;
}

async function remove(kind, at) {
  const force = h("input", { type: "checkbox", name: "now" });
  const fields = kind.plural === "pods" ? [h("label", {}, force, " at once, without the grace period")] : [];
  const where = at.namespace ? ` in ${at.namespace}` : "";
  const given = await ask(`Delete ${kind.kind} ${at.name}${where}?`, { text: "What it owns is deleted after it.", fields, action: "Delete", danger: true });
  if (!given) return;
  try {
    const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background", ...(given.get("now") ? { gracePeriodSeconds: 0 } : {}) };
    await request("DELETE", pathOf(kind, at), { body });
    toast(`${kind.kind} ${at.name} is being deleted`);
    location.hash = listPage(kind);
  } catch (error) {
    toast(error.message, "bad");
  }
}
