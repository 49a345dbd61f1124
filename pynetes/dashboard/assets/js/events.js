// Events, newest first, as they happen.
import { kindNamed, kindOf, pageOf, pathOf } from "./api.js";
import { age, append, badge, empty, h, problem, replace } from "./dom.js";
import { Rows } from "./rows.js";

const SHOWN = 200;

export function when(event) {
  return event.series?.lastObservedTime || event.lastTimestamp || event.eventTime || event.metadata.creationTimestamp;
}

/** An event as a line; with its object where the page is not that object's. */
export function line(event, { named = true } = {}) {
  const about = event.involvedObject || event.regarding || {};
  const kind = kindNamed(about.apiVersion || "v1", about.kind);
  const target = `${about.kind} ${about.namespace ? `${about.namespace}/` : ""}${about.name}`;
  const count = event.series?.count || event.count || 1;
  return h("li", {}, h("time", { datetime: when(event), title: new Date(when(event)).toLocaleString() }, `${age(when(event))} ago`),
    h("div", { class: "what" }, badge(event.reason, event.type === "Warning" ? "bad" : ""), " ", named && [kind ? h("a", { href: pageOf(kind, about.namespace, about.name) }, target) : target, " "],
      h("span", { class: "muted" }, event.message), count > 1 && h("span", { class: "faint" }, ` × ${count}`)));
}

/** A list of events that stays true. Returns what closes it. */
export function follow(place, { namespace = "", query = {}, named = true, most = SHOWN, none = "Nothing has happened lately." }) {
  const list = h("ul", { class: "events" });
  const rows = new Rows(pathOf(kindOf("core", "events"), { namespace }), {
    asTable: false, query, most: 2000,
    onchange: (found) => {
      const events = [...found.items.values()].sort((a, b) => (when(a) < when(b) ? 1 : -1)).slice(0, most);
      if (!events.length) return found.complete && replace(place, empty("No events", none, "bell"));
      replace(list, events.map((event) => line(event, { named })));
      if (!list.isConnected) replace(place, list);
    },
    onerror: (error) => replace(place, problem(error)),
  });
  const ticking = setInterval(() => !document.hidden && rows.changed(), 15000);
  return () => { rows.close(); clearInterval(ticking); };
}

export function show(place, kind, object) {
  const holder = h("div", { class: "card" });
  append(place, [holder]);
  return follow(holder, { namespace: object.metadata.namespace || "default", named: false, query: { fieldSelector: `involvedObject.uid=${object.metadata.uid}` }, none: "Events are kept for an hour." });
}
