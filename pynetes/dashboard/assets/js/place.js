// Which namespace is looked at. Kept for this browser tab, so that a reload stays where it was.

let chosen = sessionStorage.getItem("namespace") || "";
const listeners = [];

/** "" is all of them. */
export function namespace() {
  return chosen;
}

export function setNamespace(value) {
  if (value === chosen) return;
  chosen = value;
  sessionStorage.setItem("namespace", value);
  listeners.forEach((listener) => listener(value));
}

export function onNamespace(listener) {
  listeners.push(listener);
}
