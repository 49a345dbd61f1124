// The frame: login, navigation, namespace, banner, and which page is shown.
import { ApiError, discover, kindOf, kinds, listPage, login, logout, pathOf, get, resume, session } from "./api.js";
import { append, h, icon, problem, replace } from "./dom.js";
import { reconnect, shut } from "./live.js";
import { namespace, onNamespace, setNamespace } from "./place.js";

const app = document.getElementById("app");
let main = null, leave = null, turn = 0;

const NAVIGATION = [
  ["", [["overview", "Overview", "#/"], ["map", "Live map", "#/map"]]],
  ["Workloads", [["box", "core", "pods"], ["layers", "apps", "deployments"], ["layers", "apps", "statefulsets"], ["layers", "apps", "daemonsets"], ["clock", "batch", "jobs"], ["clock", "batch", "cronjobs"], ["layers", "autoscaling", "horizontalpodautoscalers"]]],
  ["Network", [["network", "core", "services"], ["network", "networking.k8s.io", "ingresses"], ["network", "discovery.k8s.io", "endpointslices"], ["network", "gateway.networking.k8s.io", "gateways"], ["lock", "networking.k8s.io", "networkpolicies"]]],
  ["Configuration", [["file", "core", "configmaps"], ["lock", "core", "secrets"], ["file", "core", "resourcequotas"]]],
  ["Storage", [["disk", "core", "persistentvolumeclaims"], ["disk", "core", "persistentvolumes"], ["disk", "storage.k8s.io", "storageclasses"]]],
  ["Cluster", [["server", "core", "nodes"], ["folder", "core", "namespaces"], ["bell", "core", "events"]]],
  ["Access", [["key", "What may I do", "#/access"], ["user", "core", "serviceaccounts"], ["key", "rbac.authorization.k8s.io", "roles"], ["key", "rbac.authorization.k8s.io", "rolebindings"], ["key", "rbac.authorization.k8s.io", "clusterroles"], ["key", "rbac.authorization.k8s.io", "clusterrolebindings"]]],
  ["Extensions", [["puzzle", "apiextensions.k8s.io", "customresourcedefinitions"], ["puzzle", "All kinds", "#/kinds"]]],
];
const PLAIN = { horizontalpodautoscalers: "Autoscalers", persistentvolumeclaims: "Volume claims", persistentvolumes: "Volumes", customresourcedefinitions: "Custom resources", clusterrolebindings: "ClusterRoleBindings", serviceaccounts: "ServiceAccounts" };
const PAGES = {
  "": () => import("./pages/overview.js"), map: () => import("./pages/map.js"), list: () => import("./pages/list.js"),
  object: () => import("./pages/object.js"), access: () => import("./pages/access.js"), kinds: () => import("./pages/kinds.js"),
};

/** "Deployments", the plural of a kind in its own capitals. */
export function titleOf(kind) {
  if (PLAIN[kind.plural]) return PLAIN[kind.plural];
  if (kind.plural === kind.kind.toLowerCase().replace(/y$/, "ies") && kind.kind.endsWith("y")) return kind.kind.replace(/y$/, "ies");
  return kind.kind + (kind.plural.slice(kind.kind.length).match(/^e?s$/) || [""])[0];
}

async function start() {
  // Most who load the page are logged in: what they may see is asked for while that is found out.
  const discovered = discover({ quiet: true });
  discovered.catch(() => {});
  try {
    if (!(await resume())) return showLogin();
  } catch (error) {
    return replace(app, h("div", { class: "login" }, problem(error, { retry: start })));
  }
  await enter(discovered);
}

async function enter(discovered = discover()) {
  try {
    await discovered;
  } catch (error) {
    if (error.code === 401) return showLogin(error.message);
    return replace(app, h("div", { class: "login" }, problem(error, { retry: () => enter() })));
  }
  frame();
  reconnect();
  await route();
}

function showLogin(message = "") {
  session.user = null;
  shut();
  leave?.();
  leave = null;
  const said = h("div", { class: "notice bad", role: "alert", hidden: !message }, message);
  const field = h("textarea", { id: "credential", name: "credential", spellcheck: "false", autocomplete: "off", required: true, placeholder: "eyJhbGciOi…  or  apiVersion: v1, kind: Config …" });
  const button = h("button", { class: "primary", type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await login(field.value);
      field.value = "";
      await enter();
    } catch (error) {
      said.hidden = false;
      said.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  };
  replace(app, h("div", { class: "login" }, h("form", { class: "card", onsubmit: submit },
    h("div", { class: "brand" }, mark(), "Pynetes"),
    h("p", { class: "muted" }, "You see and change what your own rights allow, and nothing more. What you paste stays in the dashboard's memory until you log out."),
    said, h("label", { for: "credential" }, "Token or kubeconfig"), field, button,
    h("details", {}, h("summary", {}, "Where do I get one?"),
      h("p", {}, "As an administrator, paste the kubeconfig itself:"), h("pre", {}, "pynetes kubeconfig"),
      h("p", {}, "For a ServiceAccount, a token that lasts an hour:"), h("pre", {}, "kubectl -n NAMESPACE create token NAME"),
      h("p", {}, "A kubeconfig that names files:"), h("pre", {}, "kubectl config view --raw --flatten --minify")))));
  field.focus();
}

function mark() {
  const image = document.createElement("img");
  image.src = "assets/icon.svg";
  image.alt = "";
  return image;
}

function frame() {
  const shell = h("div", { class: "shell" });
  const close = () => { shell.classList.remove("open"); menu.setAttribute("aria-expanded", "false"); };
  const menu = h("button", { class: "menu quiet", "aria-label": "Navigation", "aria-expanded": "false", "aria-controls": "side", onclick: () => menu.setAttribute("aria-expanded", String(shell.classList.toggle("open"))) }, icon("menu"));
  const side = h("nav", { class: "side", id: "side", "aria-label": "Pages", onclick: (event) => event.target.closest("a") && close(), onkeydown: (event) => event.key === "Escape" && close() },
    h("a", { class: "brand", href: "#/" }, mark(), "Pynetes"), navigation());
  const state = h("span", { class: "state", role: "status" }, h("span", {}, "live"));
  const banner = h("div", { class: "banner", role: "alert", hidden: true }, "The connection is lost. What you see may be old; it is being restored.", h("button", { onclick: reconnect }, "Try now"));
  addEventListener("live", (event) => {
    const lost = event.detail === "lost";
    banner.hidden = !lost;
    state.className = `state${lost ? " lost" : ""}`;
    replace(state, h("span", {}, lost ? "lost" : "live"));
  });
  main = h("main", { id: "main", tabindex: "-1" });
  append(shell, [h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, "Skip to content"), side,
    h("header", { class: "top" }, menu, chooser(), h("span", { class: "spacer" }), state, who()), banner, main,
    h("div", { class: "scrim", onclick: close })]);
  replace(app, shell);
}

function navigation() {
  return NAVIGATION.map(([title, items]) => {
    const links = items.map(([name, first, second]) => {
      if (second.startsWith("#")) return h("a", { class: "item", href: second }, icon(name), h("span", {}, first));
      const kind = kindOf(first, second);
      return kind && h("a", { class: "item", href: listPage(kind) }, icon(name), h("span", {}, titleOf(kind)));
    }).filter(Boolean);
    return links.length ? [title && h("h2", {}, title), links] : [];
  });
}

function chooser() {
  const options = h("datalist", { id: "namespaces" });
  const kind = kindOf("core", "namespaces");
  const field = h("input", { id: "namespace", list: "namespaces", value: namespace(), placeholder: "All namespaces", spellcheck: "false", autocomplete: "off", onchange: () => setNamespace(field.value.trim()), onfocus: () => { field.select(); fillIn(); } });
  const fillIn = async () => {
    try {
      const list = await get(`${pathOf(kind)}?limit=500`, { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json" });
      replace(options, list.items.map((item) => h("option", { value: item.metadata.name })));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // who may not list them types the name
    }
  };
  onNamespace((value) => { field.value = value; });
  return h("div", { class: "namespace" }, h("label", { for: "namespace" }, "Namespace"), field, options);
}

function who() {
  const name = session.user.username;
  const panel = h("div", { class: "panel", hidden: true },
    h("div", {}, h("h3", {}, "Logged in as"), h("strong", { class: "mono" }, name)),
    h("div", { class: "chips" }, (session.user.groups || []).map((group) => h("span", { class: "chip" }, group))),
    h("a", { href: "#/access", onclick: () => { panel.hidden = true; } }, "What may I do?"),
    h("button", { onclick: async () => { await logout(); showLogin(); } }, icon("out"), "Log out"));
  const button = h("button", { "aria-expanded": "false", "aria-label": `Account ${name}`, onclick: () => { panel.hidden = !panel.hidden; button.setAttribute("aria-expanded", String(!panel.hidden)); } }, icon("user"), h("span", {}, name));
  return h("div", { class: "who", onkeydown: (event) => { if (event.key === "Escape") { panel.hidden = true; button.focus(); } } }, button, panel);
}

async function route() {
  if (!main || !session.user) return;
  const mine = ++turn;
  const parts = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").map(decode);
  const load = PAGES[parts[0]];
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll(".side a.item")) {
    const here = link.getAttribute("href") === location.hash.replace(/^#?$/, "#/") || (parts[0] === "object" && link.getAttribute("href") === `#/list/${parts[1]}/${parts[2]}`);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = document.createDocumentFragment();
  try {
    if (!load) throw new ApiError({ code: 404, message: `There is no page ${location.hash}` });
    const module = await load();
    if (mine !== turn) return;
    const place = h("div", { class: "tabpanel" });
    page.append(place);
    main.replaceChildren(page);
    leave = (await module.show(place, parts.slice(1))) || null;
    if (mine !== turn) { leave?.(); leave = null; }
  } catch (error) {
    if (mine !== turn) return;
    main.replaceChildren(problem(error, { retry: route }));
    if (!(error instanceof ApiError)) console.error(error);
  }
  const title = main.querySelector("h1");
  document.title = title ? `${title.textContent} · Pynetes` : "Pynetes";
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

addEventListener("hashchange", () => { route(); main?.focus({ preventScroll: true }); scrollTo(0, 0); });
addEventListener("logged-out", (event) => session.user && showLogin(`Please log in again: ${event.detail}`));
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(event.target.tagName) && !event.target.closest(".term")) {
    const field = document.querySelector("main input[type=search]");
    if (field) { event.preventDefault(); field.focus(); }
  }
});
onNamespace(route);
start();
