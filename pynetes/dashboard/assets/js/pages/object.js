// One object: what it is, its YAML, its events, its story; a pod's log and terminal. Kept true by a watch on its name.
import { ApiError, get, kindOf, listPage, pageOf, pathOf } from "../api.js";
import { actions } from "../actions.js";
import { append, badge, h, problem, replace } from "../dom.js";
import { open } from "../live.js";
import { titleOf } from "../main.js";
import { stateOf } from "../summary.js";

const TABS = {
  overview: ["Overview", () => import("../summary.js")], logs: ["Logs", () => import("../logs.js")], terminal: ["Terminal", () => import("../terminal.js")],
  yaml: ["YAML", () => import("../editor.js")], events: ["Events", () => import("../events.js")], story: ["Story", () => import("../story.js")],
};

export async function show(place, [group, plural, namespace, name, wanted = "overview"]) {
  const kind = kindOf(group, plural);
  if (!kind) throw new ApiError({ code: 404, message: `This cluster serves no ${plural} in the group ${group}.` });
  const where = namespace === "-" ? "" : namespace;
  const path = pathOf(kind, { namespace: where, name });
  let object = await get(path);
  const state = h("span", {}), gone = h("div", { class: "notice warn", hidden: true }, "This object has been deleted.");
  const panel = h("div", { class: "tabpanel", role: "tabpanel", id: "panel", "aria-labelledby": `tab-${wanted}` });
  const buttons = h("div", { class: "actions" }, actions(kind, () => object));
  append(place, [
    h("div", { class: "crumbs" }, h("a", { href: listPage(kind) }, titleOf(kind)), where && [" / ", h("span", {}, where)]),
    h("div", { class: "head" }, h("h1", {}, name), state, h("span", { class: "spacer" }), buttons), gone, tabs(kind, where, name, wanted), panel,
  ]);
  const paint = () => replace(state, stateOf(kind, object).map(([word, tone]) => badge(word, tone)));
  paint();
  const module = await (TABS[wanted] || TABS.overview)[1]();
  const shown = { update: null, close: null };
  const result = module.show(panel, kind, object);
  if (typeof result === "function") shown.close = result;
  else Object.assign(shown, result);
  let version = object.metadata.resourceVersion;
  const collection = pathOf(kind, { namespace: where });
  const query = () => new URLSearchParams({ watch: "1", fieldSelector: `metadata.name=${name}`, resourceVersion: version, allowWatchBookmarks: "true" });
  const again = async () => {
    try {
      take(await get(path));
      follow();
    } catch (error) {
      if (error.code === 404) gone.hidden = false;
    }
  };
  const take = (news) => {
    object = news;
    version = news.metadata.resourceVersion;
    paint();
    shown.update?.(news);
  };
  let stop = null;
  const follow = () => {
    stop = open({
      target: () => `${collection}?${query()}`, again: true,
      onlines: (lines) => lines.map(JSON.parse).forEach(({ type, object: news }) => {
        if (type === "ERROR") { stop(); again(); }
        else if (type === "BOOKMARK") version = news.metadata.resourceVersion;
        else if (type === "DELETED") gone.hidden = false;
        else { gone.hidden = true; take(news); }
      }),
      onerror: (status) => status.code === 410 && again(),
    });
  };
  if (kind.verbs.includes("watch")) follow();
  return () => { stop?.(); shown.close?.(); };
}

function tabs(kind, namespace, name, wanted) {
  const pod = kind.plural === "pods" && !kind.group;
  const list = Object.entries(TABS).filter(([key]) => pod || !["logs", "terminal"].includes(key));
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...event.currentTarget.children];
    all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus();
  };
  return h("div", { class: "tabs", role: "tablist", onkeydown: move }, list.map(([key, [title]]) => h("button", {
    role: "tab", id: `tab-${key}`, "aria-selected": String(key === wanted), "aria-controls": "panel", tabindex: key === wanted ? "0" : "-1",
    onclick: () => { location.hash = pageOf(kind, namespace, name, key === "overview" ? "" : key); },
  }, title)));
}
