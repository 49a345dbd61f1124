// One WebSocket for everything that arrives by itself. When it is lost, each stream is opened again from where it was.
import { session } from "./api.js";

const FIRST = 500, LONGEST = 15000;
let socket = null, next = 1, wait = FIRST, timer = 0;
const streams = new Map();

function state(name) {
  dispatchEvent(new CustomEvent("live", { detail: name }));
}

function connect() {
  clearTimeout(timer);
  if (socket || !session.user) return;
  const url = new URL("live", location.href);
  url.protocol = "wss:";
  url.hash = "";
  const mine = new WebSocket(url);
  socket = mine;
  mine.onopen = () => {
    wait = FIRST;
    state("connected");
    for (const [id, stream] of streams) begin(id, stream);
  };
  mine.onmessage = (event) => {
    const message = JSON.parse(event.data);
    const stream = streams.get(message.id);
    if (!stream) return;
    if (message.data !== undefined) feed(stream, message.data);
    else if (message.message !== undefined) stream.onmessage?.(message.message);
    else if (message.error) { streams.delete(message.id); stream.onerror?.(message.error); }
    else if (message.end !== undefined) ended(message.id, stream);
  };
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    if (!session.user) return;
    state("lost");
    timer = setTimeout(connect, wait);
    wait = Math.min(LONGEST, wait * 2);
  };
}

function begin(id, stream) {
  stream.rest = "";
  socket.send(JSON.stringify({ open: id, target: stream.target(), accept: stream.accept }));
}

function feed(stream, data) {
  const lines = (stream.rest + data).split("\n");
  stream.rest = lines.pop();
  // What has no end yet must not grow without one.
  if (stream.rest.length > 4e6) stream.rest = "";
  stream.onlines?.(lines.filter(Boolean));
}

// A watch ends now and then, and is opened again; a log ends for good.
function ended(id, stream) {
  if (stream.rest && stream.onlines) stream.onlines([stream.rest]);
  if (stream.again) {
    stream.timer = setTimeout(() => { if (streams.has(id) && socket?.readyState === 1) begin(id, stream); }, 300);
  } else {
    streams.delete(id);
    stream.onend?.();
  }
}

/** Open a stream. target is a function, asked again at every opening. Returns what closes it. */
export function open({ target, accept, onlines, onmessage, onerror, onend, again = false }) {
  const id = next++;
  const stream = { target, accept, onlines, onmessage, onerror, onend, again, rest: "" };
  streams.set(id, stream);
  if (socket?.readyState === 1) begin(id, stream);
  else connect();
  return () => {
    clearTimeout(stream.timer);
    if (streams.delete(id) && socket?.readyState === 1) socket.send(JSON.stringify({ close: id }));
  };
}

/** Try now, and not only when the wait is over. */
export function reconnect() {
  wait = FIRST;
  if (!socket) connect();
}

/** Forget everything: the person has logged out. */
export function shut() {
  streams.clear();
  clearTimeout(timer);
  const old = socket;
  socket = null;
  old?.close();
}

addEventListener("online", reconnect);
document.addEventListener("visibilitychange", () => { if (!document.hidden) reconnect(); });
