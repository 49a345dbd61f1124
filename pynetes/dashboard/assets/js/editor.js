// YAML to edit. Saving is a server-side apply: what others own and you change is shown as conflicts, and is yours to take.
import { pathOf, request } from "./api.js";
import { append, h, replace, toast } from "./dom.js";
import { diff, dump, editable } from "./yaml.js";

const APPLY = "application/apply-patch+yaml";

export function show(place, kind, object) {
  let current = object;
  const area = h("textarea", { "aria-label": "YAML", spellcheck: "false", autocapitalize: "off", wrap: "off", value: dump(editable(object)) });
  const original = { text: area.value };
  const below = h("div", { class: "tabpanel", "aria-live": "polite" });
  const news = h("div", { class: "notice warn", hidden: true });
  const at = { namespace: object.metadata.namespace, name: object.metadata.name };
  const send = (query) => request("PATCH", `${pathOf(kind, at)}?fieldManager=pynetes-dashboard&${query}`, { body: area.value, type: APPLY });

  const preview = async () => {
    try {
      const result = await send("dryRun=All&force=true");
      const lines = diff(dump(editable(current)), dump(editable(result)));
      replace(below, lines.length ? h("div", {}, h("h3", {}, "This would change"), view(lines)) : h("div", { class: "notice" }, "This would change nothing. A field that you have removed stays while someone else owns it; “Replace” removes it."));
    } catch (error) {
      failed(error);
    }
  };
  const apply = async (query = "") => {
    try {
      saved(await send(query));
    } catch (error) {
      failed(error);
    }
  };
  const overwrite = async () => {
    try {
      const text = area.value.replace(/^metadata:\n/m, `metadata:\n  resourceVersion: ${JSON.stringify(current.metadata.resourceVersion)}\n`);
      saved(await request("PUT", `${pathOf(kind, at)}?fieldManager=pynetes-dashboard&fieldValidation=Strict`, { body: text, type: "application/yaml" }));
    } catch (error) {
      failed(error);
    }
  };
  const saved = (result) => {
    current = result;
    original.text = area.value = dump(editable(result));
    news.hidden = true;
    replace(below);
    toast("Saved");
  };
  const failed = (error) => {
    const causes = error.status?.details?.causes || [];
    const conflicts = causes.filter((cause) => cause.reason === "FieldManagerConflict");
    if (!conflicts.length) {
      return replace(below, h("div", { class: "notice bad", role: "alert" }, h("strong", {}, error.message), h("ul", {}, causes.map((cause) => h("li", {}, `${cause.field}: ${cause.message}`)))));
    }
    replace(below, h("div", { class: "notice warn", role: "alert" }, h("strong", {}, "Someone else owns what you change"),
      h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", {}, "Field"), h("th", {}, "Owner"))),
        h("tbody", {}, conflicts.map((cause) => h("tr", {}, h("td", { class: "mono" }, cause.field), h("td", {}, cause.message.replace(/^conflict with /, "")))))),
      h("p", {}, "Taking over changes these fields and makes them yours; their owner may set them again."),
      h("div", { class: "actions" }, h("button", { class: "danger", onclick: () => apply("force=true") }, "Take over and apply"), h("button", { onclick: () => replace(below) }, "Keep editing"))));
  };
  const reset = () => { original.text = area.value = dump(editable(current)); news.hidden = true; replace(below); };

  append(place, [h("div", { class: "editor" }, news, area, h("div", { class: "actions" },
    h("button", { class: "primary", onclick: () => apply() }, "Apply"), h("button", { onclick: preview }, "Preview changes"),
    h("button", { onclick: overwrite }, "Replace"), h("button", { class: "quiet", onclick: reset }, "Reset"),
    h("button", { class: "quiet", onclick: () => navigator.clipboard?.writeText(area.value).then(() => toast("Copied")) }, "Copy")), below)]);
  if (kind.plural === "secrets") mask(place, area);

  return { update: (changed) => {
    if (changed.metadata.resourceVersion === current.metadata.resourceVersion) return;
    const text = dump(editable(changed));
    const same = text === dump(editable(current));
    current = changed;
    if (same) return;
    if (area.value === original.text) { original.text = area.value = text; return; }
    replace(news, "It has changed meanwhile. ", h("button", { class: "quiet", onclick: reset }, "Load it, and drop what you have written"));
    news.hidden = false;
  } };
}

// A secret's YAML is its values: it is not on the screen before it is asked for.
function mask(place, area) {
  const editor = place.querySelector(".editor");
  editor.hidden = true;
  const cover = h("div", { class: "card" }, h("p", {}, "The YAML of a Secret shows its values."), h("button", { onclick: () => { cover.remove(); editor.hidden = false; area.focus(); } }, "Show it"));
  place.append(cover);
}

function view(lines) {
  return h("div", { class: "diff" }, lines.map(([sign, line]) => h("div", { class: { "+": "add", "-": "del", "…": "gap" }[sign] }, `${sign} ${line}`)));
}
