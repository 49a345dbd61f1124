// A container's log, followed. Lines are text: escapes that would colour or move a terminal's cursor show as what they are.
import { pathOf } from "./api.js";
import { append, h, replace } from "./dom.js";
import { open } from "./live.js";

const KEPT = 5000;
const CONTROL = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** A line without colours; other control characters are shown, never obeyed. */
export function cleaned(line) {
  return line.replace(/\r$/, "").replace(CONTROL, (found) => (/^\x1b\[[0-9;]*m$/.test(found) ? "" : [...found].map(shown).join("")));
}

function shown(character) {
  const code = character.codePointAt(0);
  if (code < 32) return String.fromCodePoint(0x2400 + code);
  if (code === 127) return "␡";
  return code > 126 ? `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩` : character;
}

export function show(place, kind, pod) {
  const containers = [...(pod.spec.initContainers || []), ...pod.spec.containers, ...(pod.spec.ephemeralContainers || [])].map((each) => each.name);
  const chooser = h("select", { "aria-label": "Container", onchange: () => begin() }, containers.map((name) => h("option", { value: name }, name)));
  chooser.value = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"] || pod.spec.containers[0].name;
  const previous = h("input", { type: "checkbox", onchange: () => begin() });
  const stamps = h("input", { type: "checkbox", onchange: () => begin() });
  const search = h("input", { type: "search", placeholder: "Find in log", "aria-label": "Find in log", oninput: () => mark() });
  const bottom = h("button", { onclick: () => { sticking = true; log.scrollTop = log.scrollHeight; } }, "To the end");
  const log = h("div", { class: "log", role: "log", tabindex: "0", "aria-label": "Log", "aria-live": "off", onscroll: () => { sticking = log.scrollHeight - log.scrollTop - log.clientHeight < 40; } });
  const state = h("span", { class: "muted", role: "status" });
  append(place, [h("div", { class: "head" }, chooser, h("label", {}, previous, " previous"), h("label", {}, stamps, " times"), search, h("span", { class: "spacer" }), state, bottom), log]);
  let stop = null, sticking = true, pending = [], frame = 0, last = "";

  const add = (lines) => {
    pending.push(...lines);
    if (pending.length > KEPT) pending = pending.slice(-KEPT);
    frame ||= requestAnimationFrame(flush);
  };
  const flush = () => {
    frame = 0;
    const word = search.value.toLowerCase();
    log.append(...pending.map((line) => { const text = cleaned(line); return h("div", { class: word && text.toLowerCase().includes(word) ? "hit" : null }, text || " "); }));
    pending = [];
    while (log.childElementCount > KEPT) log.firstElementChild.remove();
    if (sticking) log.scrollTop = log.scrollHeight;
  };
  const mark = () => {
    const word = search.value.toLowerCase();
    let first = null;
    for (const line of log.children) {
      const hit = word && line.textContent.toLowerCase().includes(word);
      line.className = hit ? "hit" : "";
      first ||= hit ? line : null;
    }
    first?.scrollIntoView({ block: "nearest" });
  };
  const begin = () => {
    stop?.();
    replace(log);
    last = "";
    sticking = true;
    const base = { container: chooser.value, ...(previous.checked ? { previous: "true" } : { follow: "true" }), timestamps: "true" };
    state.textContent = previous.checked ? "previous container" : "following";
    stop = open({
      // Where the connection was lost it goes on from the last line's time.
      target: () => `${pathOf(kind, { namespace: pod.metadata.namespace, name: pod.metadata.name, subresource: "log" })}?${new URLSearchParams({ ...base, ...(last ? { sinceTime: last } : { tailLines: "1000" }) })}`,
      accept: "*/*",
      onlines: (lines) => {
        const news = [];
        for (const line of lines) {
          const gap = line.indexOf(" ");
          const stamp = line.slice(0, gap);
          if (last && stamp <= last) continue;
          if (/^\d{4}-/.test(stamp)) last = stamp;
          news.push(stamps.checked || !/^\d{4}-/.test(stamp) ? line : line.slice(gap + 1));
        }
        add(news);
      },
      onerror: (status) => { state.textContent = status.message; },
      onend: () => { state.textContent = "the log has ended"; },
    });
  };
  begin();
  return () => { stop?.(); cancelAnimationFrame(frame); };
}
