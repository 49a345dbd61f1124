// What is known of one path: figures, who was let in by which rule, both certificates, the last calls.
import { get } from "../api.js";
import { append, badge, h, icon, problem, replace, s } from "../dom.js";
import { facts } from "../summary.js";
import { figures as milliseconds, fetchStory, storyList } from "../story.js";

const SHOWN = 40;

/** The panel beside the map. show(path) fills it; update(edge, news) keeps it true. */
export class Panel {
  constructor({ onclose }) {
    this.element = h("aside", { class: "card detail", "aria-label": "Details", "aria-live": "off", tabindex: "-1" });
    this.onclose = onclose;
    this.rates = {};
    this.idle();
  }

  idle() {
    this.path = null;
    replace(this.element);
    this.element.parentElement?.classList.add("solo");
  }

  head(title, ...more) {
    this.element.parentElement?.classList.remove("solo");
    return h("div", {}, h("div", { class: "title" }, h("h2", {}, title), h("button", { class: "quiet", "aria-label": "Close", onclick: () => { this.idle(); this.onclose(); } }, "✕")), more);
  }

  async show(path, edge) {
    this.path = path;
    this.figures = h("div", { class: "figures" });
    this.pulse = s("svg", { class: "pulse", viewBox: "0 0 60 20", preserveAspectRatio: "none", "aria-hidden": "true" }, s("path", { d: "" }));
    this.security = h("div", { class: "tabpanel" }, h("span", { class: "muted" }, "…"));
    this.calls = h("ul", { class: "calls" });
    replace(this.element, this.head(`${path.number || "mTLS"} · ${path.source} → ${path.target}`, h("div", { class: "chips" }, h("span", { class: "chip" }, path.protocol), path.port ? h("span", { class: "chip" }, `port ${path.port}`) : "")),
      this.figures, this.pulse, this.security, h("h3", {}, "Last calls"), this.calls);
    this.element.focus({ preventScroll: innerWidth > 1180 });
    this.update(edge, null);
    try {
      const found = await get(`/pynetes/paths/${path.number || "mtls"}`);
      if (this.path !== path) return;
      this.secured(found);
      this.list(found.calls, true);
    } catch (error) {
      replace(this.security, problem(error));
    }
  }

  /** One component and the paths it is on. */
  component(name, paths, edges, instances, choose) {
    this.path = null;
    replace(this.element, this.head(name, instances.length ? h("div", { class: "chips" }, instances.map((each) => h("span", { class: "chip" }, each))) : h("p", { class: "muted" }, "Seen by its traffic only: it shows no socket of its own.")),
      h("ul", { class: "calls" }, paths.map((path) => h("li", {}, h("span", {}, path.number ? `# ${path.number}` : "mTLS"), h("button", { class: "link", onclick: () => choose(path.number) }, `${path.source} → ${path.target}`), h("span", { class: "ms" }, rate(edges[path.number || 4]))))));
    this.element.focus({ preventScroll: innerWidth > 1180 });
  }

  tick(edges) {
    for (const [number, edge] of Object.entries(edges)) (this.rates[number] ||= []).push((edge.calls || []).length);
    for (const [number, list] of Object.entries(this.rates)) {
      if (!(number in edges)) list.push(0);
      if (list.length > 60) list.shift();
    }
  }

  update(edge, news) {
    if (!this.path) return;
    const number = this.path.number || 4;
    replace(this.figures, [[rate(edge), "per second"], [milliseconds(edge?.p50), "half within"], [milliseconds(edge?.p99), "99 % within"], [String(edge?.errors ?? 0), `errors of ${edge?.requests ?? 0}`]].map(([value, name]) => h("div", {}, h("b", {}, value), h("span", {}, name))));
    const list = this.rates[number] || [], most = Math.max(4, ...list);
    const points = list.map((value, index) => `${60 - list.length + index},${20 - (value / most) * 18}`);
    this.pulse.firstChild.setAttribute("d", points.length > 1 ? `M${60 - list.length},20 L${points.join(" L")} L59,20 Z` : "");
    if (news?.calls?.length) this.list(news.calls, false);
  }

  list(calls, fresh) {
    if (fresh) replace(this.calls);
    this.calls.prepend(...calls.slice(-SHOWN).reverse().map((call) => this.call(call)));
    while (this.calls.childElementCount > SHOWN) this.calls.lastElementChild.remove();
    if (!this.calls.childElementCount) replace(this.calls, h("span", { class: "muted" }, "None that is remembered."));
  }

  call(call) {
    const about = call.object ? h("button", { class: "link", title: "Its story", onclick: () => this.story(call.object) }, call.object) : "";
    return h("li", {}, h("time", {}, clock(call.at)), h("span", {}, `${call.action} `, about, call.error && h("div", { class: "error" }, call.error), h("div", { class: "faint" }, `${call.source} → ${call.target}`)), h("span", { class: "ms" }, call.seconds ? milliseconds(call.seconds) : ""));
  }

  secured({ identities, path }) {
    const plain = !identities.some((each) => each.client || each.server);
    const ruled = identities.filter((each) => each.rule);
    const told = ruled.length ? ruled : identities.filter((each) => each.subject);
    const client = identities.find((each) => each.client)?.client, server = identities.find((each) => each.server)?.server;
    replace(this.security,
      h("section", {}, h("h3", {}, "Let in last"), told.length ? told.slice(0, 4).map((each) => facts([["Who", h("span", { class: "mono" }, each.subject)], ["Rule", each.rule], ["By", each.issuer && !each.client ? each.issuer : ""], ["Told by", h("span", { class: "faint" }, each.instance)]])) : h("p", { class: "muted" }, `By design: ${path.identity}`)),
      client || server ? [certificate(`${path.source} shows`, client, `No certificate: ${path.identity}.`), certificate(`${path.target} shows`, server, "Not noted.")] : plain && !path.port ? h("p", { class: "muted" }, `No TLS here: ${path.identity}.`) : h("p", { class: "muted" }, "No certificate has been noted on this path yet."));
  }

  async story(name) {
    replace(this.element, this.head(name, h("span", { class: "muted" }, "What it set in motion")), icon("clock"));
    this.path = null;
    try {
      replace(this.element, this.head(name, h("span", { class: "muted" }, "What it set in motion")), storyList(await fetchStory(name)));
    } catch (error) {
      append(this.element, [problem(error)]);
    }
  }
}

export function rate(edge) {
  if (!edge?.requests) return "–";
  return edge.rate >= 10 ? edge.rate.toFixed(0) : edge.rate.toFixed(1);
}

export function clock(at) {
  const time = new Date(at * 1000);
  return time.toTimeString().slice(0, 8);
}

function certificate(title, shown, without) {
  if (!shown) return h("div", { class: "cert" }, h("h3", {}, title), h("span", { class: "muted" }, without));
  const days = Math.floor((Date.parse(shown.expires) - Date.now()) / 86400000);
  return h("div", { class: "cert" }, h("h3", {}, title, badge(days < 0 ? "expired" : `${days} days left`, days < 0 ? "bad" : days < 14 ? "warn" : "good")),
    facts([["Subject", h("span", { class: "mono" }, shown.subject)], ["Issuer", h("span", { class: "mono" }, shown.issuer)], ["Names", shown.names?.length ? h("span", { class: "mono" }, shown.names.join(", ")) : "none"], ["Until", new Date(shown.expires).toLocaleString()]]));
}
