// A table of which only the rows in sight exist: five thousand pods cost what fifty do.
import { badge, h, replace, tone } from "./dom.js";

const NARROW = matchMedia("(max-width: 700px)");
const SPARE = 12;
const STATE = new Set(["Status", "Phase", "Reason", "Type"]);

export class Grid {
  /** label names it for screen readers; href(row) is where a row leads. */
  constructor({ label, href, unit = "rows", short = false }) {
    Object.assign(this, { href, unit, rows: [], shown: [], columns: [], filter: "", active: -1, sort: null, fresh: new Set() });
    this.header = h("div", { class: "tr header", role: "row" });
    this.body = h("div", { class: "body", role: "rowgroup" });
    const inner = h("div", { class: "inner" }, h("div", { role: "rowgroup" }, this.header), this.body);
    this.scroll = h("div", {
      class: "scroll", role: "table", "aria-label": label, tabindex: "0",
      onscroll: () => this.draw(), onkeydown: (event) => this.key(event),
    }, inner);
    this.line = h("div", { class: "status-line", role: "status" });
    this.element = h("div", { class: `card table${short ? " short" : ""}`, style: { padding: "0" } }, this.scroll, this.line);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.scroll);
  }

  get height() { return NARROW.matches ? 62 : 38; }

  /** columns: [{name, main, second, wide}]; rows: [{id, cells, text}]. */
  set(columns, rows, { loading = 0, fresh = new Set() } = {}) {
    const names = columns.map((column) => column.name).join("|");
    this.rows = rows;
    this.loading = loading;
    this.fresh = fresh;
    if (names !== this.names) {
      this.names = names;
      this.columns = columns;
      this.head();
    }
    this.widths();
    this.refresh();
  }

  search(text) {
    this.filter = text.trim().toLowerCase();
    this.refresh();
  }

  refresh() {
    const words = this.filter.split(/\s+/).filter(Boolean);
    this.shown = words.length ? this.rows.filter((row) => words.every((word) => matches(row, word))) : this.rows.slice();
    if (this.sort) {
      const { index, down } = this.sort;
      const key = this.columns[index].key || ((row) => row.cells[index]);
      this.shown.sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
    }
    this.body.style.height = `${this.shown.length * this.height}px`;
    this.scroll.setAttribute("aria-rowcount", this.shown.length + 1);
    const count = this.filter ? `${this.shown.length} of ${this.rows.length}` : `${this.rows.length}`;
    replace(this.line, h("span", {}, `${count} ${this.unit}`), this.loading > 0 && h("span", {}, `${this.loading} more are coming`));
    this.draw();
  }

  head() {
    replace(this.header, this.columns.map((column, index) => {
      const sorted = this.sort?.index === index;
      const cell = h("div", { class: "th", role: "columnheader", "aria-sort": sorted ? (this.sort.down ? "descending" : "ascending") : "none" },
        h("button", { onclick: () => this.order(index), title: column.about || null }, column.name, sorted ? (this.sort.down ? " ↓" : " ↑") : ""));
      return cell;
    }));
  }

  order(index) {
    this.sort = this.sort?.index === index ? (this.sort.down ? null : { index, down: true }) : { index, down: false };
    this.head();
    this.refresh();
    this.header.children[index].firstChild.focus();
  }

  // As wide as what stands in the first rows, within reason; the main column takes what is left.
  widths() {
    const sample = this.rows.slice(0, 150);
    const tracks = this.columns.map((column, index) => {
      const longest = sample.reduce((most, row) => Math.max(most, String(row.cells[index] ?? "").length), column.name.length + 2);
      const width = Math.min(column.main ? 60 : 40, Math.max(5, longest + (STATE.has(column.name) ? 4 : 0)));
      return column.main ? `minmax(${Math.min(width, 30)}ch, ${width + 8}fr)` : `minmax(${Math.min(width, 14)}ch, ${width}fr)`;
    }).join(" ");
    if (tracks !== this.tracks) {
      this.tracks = tracks;
      this.header.style.gridTemplateColumns = tracks;
      for (const row of this.body.children) row.style.gridTemplateColumns = tracks;
    }
  }

  draw() {
    const height = this.height;
    const top = Math.max(0, this.scroll.scrollTop - height);
    const from = Math.max(0, Math.floor(top / height) - SPARE);
    const to = Math.min(this.shown.length, Math.ceil((top + (this.scroll.clientHeight || 600)) / height) + SPARE);
    replace(this.body, this.shown.slice(from, to).map((row, offset) => this.row(row, from + offset, height)));
  }

  row(row, index, height) {
    const main = this.columns.findIndex((column) => column.main);
    // On a phone there is room for one of them.
    const shown = this.columns.map((column) => STATE.has(column.name)).lastIndexOf(true);
    const element = h("div", {
      class: `tr${index === this.active ? " active" : ""}${this.fresh.delete(row.id) ? " fresh" : ""}`, role: "row", "aria-rowindex": index + 2,
      style: { top: `${index * height}px`, "grid-template-columns": this.tracks },
    }, this.columns.map((column, place) => {
      const value = row.cells[place] ?? "";
      const state = STATE.has(column.name) && tone(value);
      const content = place === main && this.href ? h("a", { href: this.href(row), tabindex: "-1" }, value) : state ? badge(value) : column.draw ? column.draw(row) : String(value);
      const kind = place === main ? " main" : column.second ? " second" : place === shown ? " state-cell" : "";
      return h("div", { class: `td${kind}`, role: "cell", title: String(value).length > 14 ? value : null }, content);
    }));
    return element;
  }

  key(event) {
    if (event.target !== this.scroll) return;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.height) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      event.preventDefault();
      this.active = Math.max(0, Math.min(this.shown.length - 1, (this.active < 0 ? -1 : this.active) + moves[event.key]));
      const place = this.active * this.height;
      if (place < this.scroll.scrollTop) this.scroll.scrollTop = place;
      const bottom = place + this.height * 2 - this.scroll.clientHeight;
      if (bottom > this.scroll.scrollTop) this.scroll.scrollTop = bottom;
      this.draw();
    } else if (event.key === "Enter" && this.shown[this.active] && this.href) {
      location.hash = this.href(this.shown[this.active]);
    }
  }

  close() {
    this.resized.disconnect();
  }
}

function matches(row, word) {
  return row.text.includes(word);
}

function compare(a, b) {
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y;
  return String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
}
