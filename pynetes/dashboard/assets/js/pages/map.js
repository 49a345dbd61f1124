// The live map: the components as they run, the 29 paths between them, and what moves on them now.
import { ApiError } from "../api.js";
import { append, badge, h, problem, replace } from "../dom.js";
import { open } from "../live.js";
import { Drawing } from "../map/draw.js";
import { NODES } from "../map/layout.js";
import { Panel, rate } from "../map/panel.js";
import { figures } from "../story.js";

export async function show(place, [wanted]) {
  const holder = h("div", { class: "tabpanel" });
  const line = h("span", { class: "muted", role: "status" }, "…");
  append(place, [h("div", { class: "head" }, h("h1", {}, "Live map"), line), holder]);
  const state = { paths: [], edges: {}, components: {} };
  const panel = new Panel({ onclose: () => drawing?.choose(null) });
  let drawing = null, rows = [];

  const edge = (number) => {
    const path = state.paths.find((each) => each.number === Number(number));
    if (!path) return;
    drawing.choose([path.number], [path.source, path.target]);
    panel.show(path, state.edges[path.number || 4]);
  };
  const node = (name) => {
    const paths = state.paths.filter((path) => path.source === name || path.target === name);
    drawing.choose(paths.map((path) => path.number), [name, ...paths.flatMap((path) => [path.source, path.target])]);
    panel.component(NODES[name].label || name, paths, state.edges, state.components[NODES[name].made] || [], edge);
  };
  const begin = (whole) => {
    Object.assign(state, whole);
    drawing?.close();
    drawing = new Drawing(whole.paths, { onedge: edge, onnode: node });
    rows = whole.paths.map((path) => row(path, edge));
    const body = h("tbody", {}, rows.map((each) => each.element));
    replace(holder, hint(), h("div", { class: "mapwrap solo" }, h("div", {}, drawing.element, h("section", { class: "card" }, h("h2", {}, "The same as a list"), h("div", { class: "overflow" }, h("table", { class: "plain paths" },
      h("thead", {}, h("tr", {}, ["#", "Path", "Protocol", "Per second", "Half within", "99 % within", "Errors", "Last"].map((name, index) => h("th", { scope: "col", class: index > 2 ? "num" : null }, name)))), body)))), panel.element));
    paint({});
    if (wanted) edge(wanted === "mtls" ? 0 : wanted);
  };
  const paint = (news) => {
    drawing.update(state.edges, state.components, news);
    const seen = state.paths.filter((path) => path.number && state.edges[path.number]?.requests).length;
    const total = Object.values(state.edges).reduce((sum, each) => sum + (each.rate || 0), 0);
    replace(line, `${seen} of 29 paths seen · ${total.toFixed(0)} interactions a second · ${Object.values(state.components).flat().length} components`);
    for (const each of rows) each.update(state.edges[each.path.number || 4]);
  };
  const close = open({
    target: () => "/pynetes/paths", again: true,
    onmessage: (message) => {
      if (message.paths) return begin(message);
      for (const [number, news] of Object.entries(message.edges)) state.edges[number] = news;
      state.components = message.components;
      panel.tick(message.edges);
      paint(message.edges);
      if (panel.path) panel.update(state.edges[panel.path.number || 4], message.edges[panel.path.number || 4]);
    },
    onerror: (status) => { replace(line); replace(holder, problem(new ApiError(status))); },
  });
  return () => { close(); drawing?.close(); };
}

function hint() {
  return h("div", { class: "legend" }, h("span", {}, "Choose a line to see what secures it, a box to see what it talks to."),
    h("span", {}, h("i", {}), "requests"), h("span", {}, h("i", { class: "watch" }), "watch events"), h("span", {}, h("i", { class: "error" }), "errors"), h("span", {}, h("i", { class: "absent" }), "not seen yet"));
}

// Made once and changed in place, so that the keyboard's focus stays where it is.
function row(path, choose) {
  const cells = Array.from({ length: 5 }, () => h("td", { class: "num" }));
  const element = h("tr", { class: "absent" }, h("td", {}, path.number ? String(path.number) : "mTLS"),
    h("td", {}, h("button", { class: "link", onclick: () => { choose(path.number); scrollTo({ top: 0, behavior: "smooth" }); } }, `${path.source} → ${path.target}`)), h("td", {}, path.protocol), cells);
  const update = (edge) => {
    const seen = edge?.requests;
    element.className = seen ? "" : "absent";
    [rate(edge), figures(edge?.p50), figures(edge?.p99), seen ? (edge.errors ? badge(edge.errors, "bad") : "0") : "–", seen ? ago(edge.last) : "not yet"].forEach((value, index) => replace(cells[index], value));
  };
  return { path, element, update };
}

function ago(at) {
  const seconds = Math.max(0, Date.now() / 1000 - at);
  return seconds < 2 ? "now" : seconds < 120 ? `${Math.round(seconds)}s ago` : `${Math.round(seconds / 60)}m ago`;
}
