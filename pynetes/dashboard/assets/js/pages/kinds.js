// Every kind that the cluster serves, those of its CustomResourceDefinitions too.
import { kinds, listPage } from "../api.js";
import { append, h } from "../dom.js";
import { Grid } from "../grid.js";

export async function show(place) {
  const grid = new Grid({ label: "Kinds", unit: "kinds", href: (row) => row.page });
  const search = h("input", { type: "search", placeholder: "Filter  ( / )", "aria-label": "Filter", oninput: () => grid.search(search.value) });
  append(place, [h("div", { class: "head" }, h("h1", {}, "All kinds"), h("span", { class: "spacer" }), search), grid.element]);
  const columns = [{ name: "Kind", main: true }, { name: "Group", second: true }, { name: "Version" }, { name: "Scope" }, { name: "Short" }, { name: "Verbs" }];
  const rows = kinds.filter((kind) => kind.verbs.includes("list")).map((kind) => {
    const cells = [kind.kind, kind.group || "core", kind.version, kind.namespaced ? "namespace" : "cluster", kind.short.join(", "), kind.verbs.join(" ")];
    return { id: `${kind.group}/${kind.plural}`, page: listPage(kind), cells, text: `${cells.join(" ")} ${kind.plural}`.toLowerCase() };
  });
  grid.set(columns, rows.sort((a, b) => (a.cells[0] < b.cells[0] ? -1 : 1)));
  return () => grid.close();
}
