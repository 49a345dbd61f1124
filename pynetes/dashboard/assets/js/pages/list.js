// One kind as a table, with the server's own columns, live.
import { ApiError, kindOf, pageOf, pathOf, session } from "../api.js";
import { age, append, empty, h, problem, replace } from "../dom.js";
import { Grid } from "../grid.js";
import { namespace, setNamespace } from "../place.js";
import { titleOf } from "../main.js";
import { Rows } from "../rows.js";

export async function show(place, [group, plural]) {
  const kind = kindOf(group, plural);
  if (!kind) throw new ApiError({ code: 404, message: `This cluster serves no ${plural} in the group ${group}.` });
  const where = kind.namespaced ? namespace() : "";
  const search = h("input", { type: "search", placeholder: "Filter  ( / )", "aria-label": "Filter", oninput: () => grid.search(search.value) });
  append(place, [h("div", { class: "head" }, h("h1", {}, titleOf(kind)), h("span", { class: "muted" }, kind.namespaced ? where || "all namespaces" : "whole cluster"), h("span", { class: "spacer" }), search)]);
  const holder = h("div", {});
  place.append(holder);
  const grid = new Grid({ label: titleOf(kind), unit: titleOf(kind), href: (row) => pageOf(kind, row.namespace, row.name) });
  const rows = new Rows(pathOf(kind, { namespace: where }), {
    onchange: (found) => {
      if (found.complete && !found.items.size) return replace(holder, h("div", { class: "card" }, empty(`No ${titleOf(kind)}`, where ? `There are none in ${where}.` : "There are none in this cluster.")));
      if (!grid.element.isConnected) replace(holder, grid.element);
      const columns = columnsOf(found, kind, where);
      grid.set(columns, [...found.items.values()].map((item) => rowOf(item, columns)), { loading: found.remaining, fresh: found.complete ? found.fresh : new Set() });
    },
    onerror: (error) => replace(holder, problem(error), error.code === 403 && kind.namespaced && !where && oneOf()),
  });
  const ticking = setInterval(() => grid.element.isConnected && !document.hidden && rows.changed(), 10000);
  return () => { rows.close(); grid.close(); clearInterval(ticking); };
}

// Who may see one namespace only says which.
function oneOf() {
  const own = (session.user.username.match(/^system:serviceaccount:([^:]+):/) || [])[1] || "";
  const field = h("input", { name: "namespace", value: own, "aria-label": "Namespace", required: true });
  return h("form", { class: "card head", onsubmit: (event) => { event.preventDefault(); setNamespace(field.value.trim()); } },
    h("span", {}, "You may be allowed to see one namespace:"), field, h("button", { class: "primary" }, "Look there"));
}

/** The columns that kubectl get shows, the namespace where all are listed. */
export function columnsOf(found, kind, where) {
  const given = found.columns.map((column, index) => ({ column, index })).filter(({ column }) => !column.priority);
  const columns = given.map(({ column, index }) => {
    const isAge = column.name === "Age" && column.type !== "integer";
    return {
      name: column.name, about: column.description, main: column.name === "Name",
      of: isAge ? (item) => age(item.object.metadata.creationTimestamp) : (item) => item.cells[index],
      key: isAge ? (row) => -Date.parse(row.created) : null,
    };
  });
  if (!columns.some((column) => column.main)) columns.unshift({ name: "Name", main: true, of: (item) => item.object.metadata.name });
  if (kind.namespaced && !where) columns.splice(1, 0, { name: "Namespace", second: true, of: (item) => item.object.metadata.namespace });
  if (kind.plural === "pods" || !columns.some((column) => column.second)) {
    const second = columns.find((column) => ["Ready", "Cluster-IP", "Data", "Completions", "Version", "Age"].includes(column.name) && !column.second);
    if (second && !columns.some((column) => column.second)) second.second = true;
  }
  return columns;
}

/** What the grid shows of a table's row. */
export function rowOf(item, columns) {
  const metadata = item.object.metadata;
  const cells = columns.map((column) => column.of(item));
  const labels = Object.entries(metadata.labels || {}).map(([key, value]) => `${key}=${value}`).join(" ");
  return { id: metadata.uid, name: metadata.name, namespace: metadata.namespace, created: metadata.creationTimestamp, cells, text: `${cells.join(" ")} ${labels}`.toLowerCase() };
}
