// Objects as YAML to read and edit. Reading YAML is the API server's work; here it is only written.

const PLAIN = /^[A-Za-z_/][A-Za-z0-9_./@ -]*$/;
const RESERVED = /^(true|false|yes|no|on|off|null|y|n|~)$/i;

function text(value, depth) {
  if (/^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*\n$/.test(value.replace(/\n(?=.)/g, "")) && !/^\s/.test(value) && !/[ \t]\n/.test(value) && !value.endsWith("\n\n")) {
    return "|\n" + value.slice(0, -1).split("\n").map((line) => (line ? "  ".repeat(depth) + line : "")).join("\n");
  }
  if (PLAIN.test(value) && !RESERVED.test(value) && !value.endsWith(" ") && value.length < 200) return value;
  return JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029\ufeff]/g, (each) => "\\u" + each.charCodeAt(0).toString(16).padStart(4, "0"));
}

function node(value, depth) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return text(value, depth);
  if (typeof value !== "object") return String(value);
  const entries = Array.isArray(value) ? value : Object.entries(value);
  if (!entries.length) return Array.isArray(value) ? "[]" : "{}";
  const pad = "  ".repeat(depth);
  if (Array.isArray(value)) {
    return entries.map((each) => {
      const inner = node(each, depth + 1);
      return `${pad}- ${each && typeof each === "object" ? inner.trimStart() : inner}`;
    }).join("\n");
  }
  return entries.map(([key, each]) => {
    const nested = each && typeof each === "object" && Object.keys(each).length;
    const inner = node(each, nested && Array.isArray(each) ? depth : depth + 1);
    return `${pad}${text(key, depth)}:${nested ? "\n" : " "}${inner}`;
  }).join("\n");
}

export function dump(object) {
  return node(object, 0) + "\n";
}

/** What a person edits: without what the server keeps for itself. */
export function editable(object) {
  const { apiVersion, kind, metadata, ...rest } = object;
  const { managedFields, uid, creationTimestamp, generation, resourceVersion, selfLink, deletionTimestamp, deletionGracePeriodSeconds, ...kept } = metadata;
  delete rest.status;
  // kubectl's own note of what it applied last: long, and nobody edits it.
  if (kept.annotations) {
    const { "kubectl.kubernetes.io/last-applied-configuration": _note, ...annotations } = kept.annotations;
    kept.annotations = annotations;
    if (!Object.keys(annotations).length) delete kept.annotations;
  }
  return { apiVersion, kind, metadata: kept, ...rest };
}

/** Lines of two texts: [" " | "+" | "-", line]; unchanged stretches are shortened to three lines on each side. */
export function diff(before, after) {
  const a = before.split("\n"), b = after.split("\n");
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const lines = [];
  if (start > 3) lines.push(["…", ""]);
  a.slice(Math.max(0, start - 3), start).forEach((line) => lines.push([" ", line]));
  lines.push(...middle(a.slice(start, endA), b.slice(start, endB)));
  a.slice(endA, endA + 3).forEach((line) => lines.push([" ", line]));
  if (endA + 3 < a.length) lines.push(["…", ""]);
  return endA === start && endB === start ? [] : lines;
}

// The longest common subsequence; of very large changes all is shown as replaced.
function middle(a, b) {
  if (a.length * b.length > 4e6) return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
  const width = b.length + 1;
  const best = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      best[i * width + j] = a[i] === b[j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
    }
  }
  const lines = [];
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push([" ", a[i++]]); j++; }
    else if (i < a.length && (j >= b.length || best[(i + 1) * width + j] >= best[i * width + j + 1])) lines.push(["-", a[i++]]);
    else lines.push(["+", b[j++]]);
  }
  return lines;
}
