// The causal story of an object: its write, and all that came of it, as a timeline.
import { get, kinds, pageOf } from "./api.js";
import { append, empty, h, problem, replace } from "./dom.js";

export function figures(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return seconds < 0.01 ? `${+(seconds * 1000).toFixed(1)} ms` : `${Math.round(seconds * 1000)} ms`;
}

export async function fetchStory(name) {
  return (await get(`/pynetes/paths/story?object=${encodeURIComponent(name)}`)).story;
}

/** "pods default/web" as a link to the object's page, if it is of a known kind. */
export function objectLink(name) {
  const [resource, key = ""] = name.split(" ");
  const [plural, ...group] = resource.split(".");
  const kind = kinds.find((each) => each.plural === plural && (!group.length || each.group === group.join(".") || each.group.startsWith(group.join("."))));
  if (!kind || !key) return name;
  const parts = key.split("/");
  const namespace = kind.namespaced && parts.length > 1 ? parts[0] : "";
  return h("a", { href: pageOf(kind, namespace, parts[parts.length - 1]) }, name);
}

export function storyList(items) {
  if (!items.length) return empty("No story", "Each component remembers its newest 4096 interactions; nothing about this object is among them.", "clock");
  const began = items[0].at;
  return h("ul", { class: "story" }, items.slice(0, 400).map((item) => h("li", { class: item.error ? "bad" : null },
    h("span", { class: "at", title: new Date(item.at * 1000).toLocaleString() }, `+${figures(item.at - began)}`), h("span", { class: "dot" }),
    h("div", { class: "body" }, h("strong", {}, item.action), " ", item.object && objectLink(item.object),
      h("div", { class: "muted" }, `${item.source} → ${item.target}`, item.path ? h("a", { href: `#/map/${item.path}` }, ` · path ${item.path}`) : "", item.seconds ? ` · ${figures(item.seconds)}` : ""),
      (item.revision || item.cause) ? h("div", { class: "faint" }, [item.revision ? `revision ${item.revision}` : "", item.cause ? `because of revision ${item.cause}` : ""].filter(Boolean).join(", ")) : "",
      item.error && h("div", { class: "error" }, item.error)))));
}

export async function showInto(holder, name) {
  try {
    replace(holder, storyList(await fetchStory(name)));
  } catch (error) {
    replace(holder, problem(error));
  }
}

export function show(place, kind, object) {
  const { namespace, name } = object.metadata;
  const holder = h("div", { class: "card" }, "…");
  const tell = () => showInto(holder, `${kind.plural} ${namespace ? `${namespace}/` : ""}${name}`);
  append(place, [h("div", { class: "head" }, h("span", { class: "muted" }, "From its write to every reconcile, binding, container and rule that it caused."), h("span", { class: "spacer" }), h("button", { onclick: tell }, "Look again")), holder]);
  tell();
}
