// A terminal in a container: exec over the WebSocket protocol v5.channel.k8s.io. The screen is xterm.js.
import { pathOf } from "./api.js";
import { append, h, replace } from "./dom.js";

const STDIN = 0, STDOUT = 1, STDERR = 2, FAULT = 3, RESIZE = 4, CLOSE = 255;
//: The first of these that the container has.
const SHELL = ["sh", "-c", "TERM=xterm-256color; export TERM; command -v bash >/dev/null 2>&1 && exec bash || exec sh"];

export function show(place, kind, pod) {
  const chooser = h("select", { "aria-label": "Container" }, pod.spec.containers.map((each) => h("option", { value: each.name }, each.name)));
  const command = h("input", { "aria-label": "Command", placeholder: "a shell, or a command", spellcheck: "false", autocapitalize: "off" });
  const state = h("span", { class: "muted", role: "status" });
  const screen = h("div", { class: "term" });
  const button = h("button", { class: "primary" }, "Connect");
  append(place, [h("form", { class: "head", onsubmit: (event) => { event.preventDefault(); begin(); } }, chooser, command, button, h("span", { class: "spacer" }), state), screen,
    h("p", { class: "faint" }, "Tab goes to the program in the container; press Escape, then Tab to leave the terminal.")]);
  let close = null;

  const begin = async () => {
    close?.();
    state.textContent = "connecting";
    const { Terminal, FitAddon } = await library();
    replace(screen);
    const terminal = new Terminal({ fontFamily: "ui-monospace, 'DejaVu Sans Mono', monospace", fontSize: 13, cursorBlink: true, scrollback: 5000, screenReaderMode: true, theme: { background: "#0a0e14" }, linkHandler: { activate: () => {} } });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(screen);
    fit.fit();
    terminal.focus();
    let leaving = false;
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.key === "Tab" && leaving) return false;
      leaving = event.key === "Escape" || (leaving && event.type === "keyup");
      return true;
    });
    const given = command.value.trim();
    const query = new URLSearchParams({ container: chooser.value, stdin: "true", stdout: "true", tty: "true" });
    for (const word of given ? ["sh", "-c", given] : SHELL) query.append("command", word);
    const url = new URL(`${pathOf(kind, { namespace: pod.metadata.namespace, name: pod.metadata.name, subresource: "exec" }).slice(1)}?${query}`, location.origin + location.pathname);
    url.protocol = "wss:";
    const socket = new WebSocket(url, ["v5.channel.k8s.io"]);
    socket.binaryType = "arraybuffer";
    let fault = "";
    const send = (channel, text) => {
      if (socket.readyState !== 1) return;
      const bytes = new TextEncoder().encode(text);
      const message = new Uint8Array(bytes.length + 1);
      message[0] = channel;
      message.set(bytes, 1);
      socket.send(message);
    };
    const size = () => send(RESIZE, JSON.stringify({ Width: terminal.cols, Height: terminal.rows }));
    socket.onopen = () => { state.textContent = `in ${chooser.value}`; size(); };
    socket.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data), channel = bytes[0], rest = bytes.subarray(1);
      if (channel === STDOUT || channel === STDERR) terminal.write(rest);
      else if (channel === FAULT) fault = ended(new TextDecoder().decode(rest));
      else if (channel === CLOSE) socket.close();
    };
    socket.onclose = () => { state.textContent = fault || "the connection has ended; you may lack the right to create pods/exec"; button.textContent = "Connect again"; };
    terminal.onData((text) => send(STDIN, text));
    terminal.onResize(size);
    const watcher = new ResizeObserver(() => fit.fit());
    watcher.observe(screen);
    button.textContent = "Connect again";
    close = () => { watcher.disconnect(); socket.onclose = null; socket.close(); terminal.dispose(); close = null; };
  };
  begin();
  return () => close?.();
}

// The Status with which the other side says how the program ended.
function ended(text) {
  try {
    const status = JSON.parse(text);
    const code = status.details?.causes?.find((cause) => cause.reason === "ExitCode")?.message;
    return status.status === "Success" ? "the program has ended" : code ? `the program ended with ${code}` : status.message;
  } catch {
    return text;
  }
}

let loaded = null;

// xterm.js makes style sheets while it runs; they get the page's nonce, without which the browser would ignore them.
function library() {
  loaded ||= (async () => {
    const nonce = document.getElementById("nonce").nonce;
    const make = document.createElement.bind(document);
    document.createElement = (name, options) => {
      const element = make(name, options);
      if (String(name).toLowerCase() === "style") element.nonce = nonce;
      return element;
    };
    document.head.append(h("link", { rel: "stylesheet" }));
    document.head.lastElementChild.setAttribute("href", "assets/vendor/xterm/xterm.css");
    const [{ Terminal }, { FitAddon }] = await Promise.all([import("../vendor/xterm/xterm.js"), import("../vendor/xterm/addon-fit.js")]);
    return { Terminal, FitAddon };
  })();
  return loaded;
}
