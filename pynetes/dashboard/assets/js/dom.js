// Elements are made here, and text becomes text only: no markup is ever parsed, so no name or log line can be markup.

/** An element: h("a", {href: "#/", class: "item", onclick: f}, "text", child). null and false children are left out. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "style") Object.entries(value).forEach(([key, each]) => element.style.setProperty(key, each));
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (name === "href") element.setAttribute("href", safe(String(value)));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

// Links stay on this page: an object's annotation must not become a javascript: or a foreign address.
function safe(href) {
  return href.startsWith("#") ? href : "#/";
}

export function append(element, children) {
  for (const child of children.flat(4)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Twenty-four units square, stroked.
const ICONS = {
  overview: "M4 13h7V4H4zM13 20h7V11h-7zM4 20h7v-4H4zM13 8h7V4h-7z",
  map: "M5 6a2 2 0 1 0 .1 0M19 5a2 2 0 1 0 .1 0M12 17a2 2 0 1 0 .1 0M7 8h10M6 9.500l5 7.500M18 9l-5 8",
  box: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9",
  layers: "M12 3l9 5-9 5-9-5zM3 13l9 5 9-5",
  clock: "M12 3a9 9 0 1 0 .1 0M12 7v5l3 2",
  network: "M12 4v5M12 9H6v5M12 9h6v5M4 14h4v5H4zM16 14h4v5h-4z",
  file: "M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  disk: "M5 6c0-1.700 14-1.700 14 0v12c0 1.700-14 1.700-14 0zM5 6c0 1.700 14 1.700 14 0M5 12c0 1.700 14 1.700 14 0",
  server: "M4 5h16v6H4zM4 13h16v6H4zM7.500 8h.1M7.500 16h.1",
  bell: "M6 17V11a6 6 0 0 1 12 0v6M4 17h16M10.500 20h3",
  user: "M12 4a4 4 0 1 0 .1 0M4.500 20c1-4.500 14-4.500 15 0",
  key: "M8 12a3.500 3.500 0 1 0 .1 0M11.500 15.500H21M18 15.500v3",
  puzzle: "M5 8h4a2 2 0 1 1 4 0h5v5a2 2 0 1 0 0 4v3H5z",
  menu: "M4 7h16M4 12h16M4 17h16",
  out: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9",
  folder: "M3 6h6l2 2h10v11H3z",
};

export function icon(name) {
  const path = s("path", { d: ICONS[name] || ICONS.box, fill: "none", stroke: "currentColor", "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round" });
  return s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, path);
}

let toasts = null;

/** Say something for a few seconds, also to screen readers. */
export function toast(text, kind = "good") {
  if (!toasts || !toasts.isConnected) {
    toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(toasts);
  }
  const note = h("div", { class: `notice ${kind}` }, text);
  toasts.append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 9000 : 4500);
}

/** Ask; resolves to the form's data, or null. fields are elements with names. */
export function ask(title, { text = "", fields = [], action = "OK", danger = false } = {}) {
  return new Promise((resolve) => {
    const done = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    const form = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); done(new FormData(form)); } },
      h("h2", {}, title), text && h("p", { class: "muted" }, text), fields,
      h("div", { class: "actions" },
        h("button", { type: "submit", class: danger ? "danger primary" : "primary" }, action),
        h("button", { type: "button", onclick: () => done(null) }, "Cancel")));
    const dialog = h("dialog", { "aria-label": title, oncancel: (event) => { event.preventDefault(); done(null); } }, form);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** "3m", "4d" since an RFC 3339 time, as kubectl writes it. */
export function age(stamp, now = Date.now()) {
  if (!stamp) return "";
  const seconds = Math.max(0, Math.floor((now - Date.parse(stamp)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

const GOOD = new Set(["Running", "Ready", "Active", "Bound", "Available", "True", "Complete", "Completed", "Succeeded", "Healthy", "Approved,Issued"]);
const BAD = /Error|BackOff|Failed|Evicted|Lost|NotReady|Invalid|OOMKilled|Unknown|Unhealthy|Denied|StartError/;
const WARN = /Pending|ContainerCreating|Terminating|Init:|PodInitializing|SchedulingDisabled|Suspended|Released|Unschedulable/;

/** How a status word is coloured. */
export function tone(word) {
  const text = String(word || "");
  if (BAD.test(text)) return "bad";
  if (WARN.test(text)) return "warn";
  return GOOD.has(text) ? "good" : "";
}

export function badge(word, kind = tone(word)) {
  return h("span", { class: `badge ${kind}` }, word);
}

/** The page for a refusal or a failure: what happened, and what helps. */
export function problem(error, { retry = null } = {}) {
  const status = error.status || {};
  const code = status.code || 0;
  const title = code === 403 ? "You may not see this" : code === 404 ? "Not found" : code === 503 || !code ? "Out of reach" : "That did not work";
  const hints = {
    403: "Your cluster's administrator can grant it with a Role or ClusterRole and a binding to you. What you may do is listed under Access → What may I do.",
    404: "It may have been deleted, or the kind is not served by this cluster.",
  };
  return h("div", { class: "card refused", role: "alert" }, h("h2", {}, title),
    h("pre", {}, status.message || error.message || String(error)),
    h("p", { class: "muted" }, hints[code] || "It is tried again when you reload."),
    retry && h("button", { onclick: retry }, "Try again"));
}

export function empty(title, text, name = "box") {
  return h("div", { class: "empty" }, icon(name), h("strong", {}, title), text && h("span", {}, text));
}
