// A list that stays true: pages of a list first, then a watch from its revision; a lost revision lists anew.
import { ApiError, TABLE, get } from "./api.js";
import { open } from "./live.js";

//: The first page is what fits on a screen several times; the rest follows while the person reads.
const FIRST_PAGE = 120, PAGE = 500;

export class Rows {
  /** asTable: the server's own columns; else whole objects. onchange(rows) is called at most once a frame. */
  constructor(path, { asTable = true, query = {}, onchange, onerror, most = Infinity }) {
    Object.assign(this, { path, asTable, query, onchange, onerror, most });
    this.items = new Map();
    this.columns = [];
    this.complete = false;
    this.fresh = new Set();
    this.remaining = 0;
    this.version = "";
    this.closed = false;
    this.start();
  }

  target(more) {
    const query = new URLSearchParams({ ...this.query, ...more });
    return `${this.path}?${query}`;
  }

  async start() {
    const turn = this.turn = (this.turn || 0) + 1;
    this.stop?.();
    this.stop = null;
    const seen = new Set();
    let next = "";
    try {
      do {
        const more = { limit: next ? PAGE : FIRST_PAGE };
        if (next) more.continue = next;
        const page = await get(this.target(more), { accept: this.asTable ? TABLE : "application/json" });
        if (this.closed || turn !== this.turn) return;
        this.take(page, seen);
        next = seen.size < this.most ? page.metadata.continue : "";
        this.remaining = next ? page.metadata.remainingItemCount || 0 : 0;
        this.version = page.metadata.resourceVersion;
        this.changed();
      } while (next);
    } catch (error) {
      // A continue token that has become too old: begin again.
      if (error instanceof ApiError && error.code === 410 && next) return this.start();
      if (!this.closed && turn === this.turn) this.failed(error);
      return;
    }
    for (const id of this.items.keys()) if (!seen.has(id)) this.items.delete(id);
    this.complete = true;
    this.changed();
    this.follow();
  }

  failed(error) {
    const passing = error.code === 0 || error.code === 429 || error.code >= 500;
    if (passing && this.items.size) this.timer = setTimeout(() => this.start(), 3000);
    else this.onerror?.(error);
  }

  take(page, seen) {
    if (page.columnDefinitions?.length) this.columns = page.columnDefinitions;
    for (const item of page.rows || page.items || []) {
      const id = identity(item);
      seen.add(id);
      this.items.set(id, item);
    }
  }

  follow() {
    this.stop = open({
      target: () => this.target({ watch: "1", resourceVersion: this.version, allowWatchBookmarks: "true" }),
      accept: this.asTable ? TABLE : "application/json",
      again: true,
      onlines: (lines) => lines.forEach((line) => this.event(JSON.parse(line))),
      onerror: (status) => (status.code === 410 ? this.start() : this.failed(new ApiError(status))),
    });
  }

  event({ type, object }) {
    if (type === "ERROR") {
      if (object.code === 410) this.start();
      return;
    }
    for (const item of this.asTable && object.rows ? object.rows : [object]) {
      const metadata = (item.object || item).metadata || {};
      if (metadata.resourceVersion) this.version = metadata.resourceVersion;
      if (type === "BOOKMARK") continue;
      const id = identity(item);
      if (type === "DELETED") this.items.delete(id);
      else {
        if (!this.items.has(id)) this.fresh.add(id);
        this.items.set(id, item);
      }
    }
    this.changed();
  }

  changed() {
    if (this.pending || this.closed) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      if (!this.closed) this.onchange(this);
    });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.stop?.();
  }
}

function identity(item) {
  const metadata = (item.object || item).metadata;
  return metadata.uid || `${metadata.namespace}/${metadata.name}`;
}
