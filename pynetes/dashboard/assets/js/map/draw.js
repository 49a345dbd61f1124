// The map as SVG: boxes, lines, and sparks that run along the lines for what has just happened.
import { h, s } from "../dom.js";
import { HEIGHT, NODES, WIDTH, box, lines, tags } from "./layout.js";

const MOST_SPARKS = 160, FLIGHT = 900;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Drawing {
  /** onedge(number) and onnode(name) are called when a person chooses one. */
  constructor(paths, { onedge, onnode }) {
    this.paths = paths;
    this.lines = lines(paths);
    this.edges = {};
    this.nodes = {};
    this.sparks = [];
    this.layer = s("g", { "aria-hidden": "true" });
    const press = (act) => (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } };
    const places = tags(this.lines);
    for (const path of paths) {
      const line = this.lines[path.number];
      if (!line) continue;
      const label = path.number ? String(path.number) : "mTLS";
      const [x, y] = places[path.number];
      const shape = path.number ? s("circle", { cx: x, cy: y, r: 11 }) : s("rect", { x: x - 20, y: y - 10, width: 40, height: 20, rx: 10 });
      this.edges[path.number] = s("g", { class: "edge absent", tabindex: "0", role: "button", "aria-label": `${label}: ${path.source} to ${path.target}`, onclick: () => onedge(path.number), onkeydown: press(() => onedge(path.number)) },
        s("title", {}, `${label} · ${path.source} → ${path.target} · ${path.protocol}`),
        s("path", { class: "hit", d: line.d }), s("path", { class: "line", d: line.d }), path.number ? s("path", { class: "tip", d: line.tip }) : null, s("g", { class: "tag" }, shape, s("text", { x, y: y + 4 }, label)));
    }
    for (const name of Object.keys(NODES)) {
      const { x, y, w, h: high, label, sub, hub } = box(name);
      this.nodes[name] = s("g", { class: `node absent${hub ? " hub" : ""}`, tabindex: "0", role: "button", "aria-label": label || name, onclick: () => onnode(name), onkeydown: press(() => onnode(name)) },
        s("rect", { x, y, width: w, height: high, rx: 10 }), s("text", { x: x + w / 2, y: y + high / 2 + (sub ? -1 : 5) }, label || name),
        s("text", { class: "sub", x: x + w / 2, y: y + high / 2 + (hub ? 22 : 16) }, sub || ""));
    }
    const zone = (x, y, w, high, name) => [s("rect", { class: "zone", x, y, width: w, height: high, rx: 16 }), s("text", { class: "zone-name", x: x + 16, y: y + 22 }, name)];
    this.svg = s("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "Map of the components and the paths between them" },
      zone(10, 20, 190, 370, "People and tools"), zone(480, 20, 550, 370, "Control plane"), zone(1046, 210, 184, 180, "Cloud"), zone(10, 440, 1220, 380, "Every node"),
      this.layer, Object.values(this.edges), Object.values(this.nodes));
    this.element = h("div", { class: "card mapbox" }, this.svg);
  }

  /** What the edges look like after a tick; calls become sparks. */
  update(edges, components, news = {}) {
    const now = Date.now() / 1000;
    const ends = new Set();
    for (const path of this.paths) {
      const edge = edges[path.number || 4], group = this.edges[path.number];
      if (!group) continue;
      const seen = Boolean(edge?.requests), moving = seen && now - edge.last < 4;
      const states = ["edge", seen ? "seen" : "absent"];
      if (moving && path.number) states.push("moving");
      if (edge?.failing > 0) states.push("failing");
      for (const kept of ["chosen", "near"]) if (group.classList.contains(kept)) states.push(kept);
      group.setAttribute("class", states.join(" "));
      group.querySelector(".line").style.strokeWidth = seen ? String(1.5 + Math.min(4, Math.log10(1 + (edge.rate || 0) * 4) * 1.6)) : "";
      if (seen) { ends.add(path.source); ends.add(path.target); }
    }
    for (const [name, group] of Object.entries(this.nodes)) {
      const count = (components[NODES[name].made] || []).length;
      group.classList.toggle("absent", !ends.has(name) && !count);
      if (count > 1) group.querySelector(".sub").textContent = `× ${count}`;
    }
    for (const [number, edge] of Object.entries(news)) this.fly(number, edge.calls || []);
  }

  fly(number, calls) {
    if (STILL.matches || document.hidden || !this.lines[number]) return;
    calls.forEach((call, index) => {
      if (this.sparks.length >= MOST_SPARKS) return;
      const kind = call.error ? "error" : /^watch/.test(call.action) ? "watch" : "";
      const dot = s("circle", { class: `spark ${kind}`, r: call.error ? 5 : 3.8, visibility: "hidden" });
      this.layer.append(dot);
      this.sparks.push({ dot, points: this.lines[number].points, begins: performance.now() + (index / calls.length) * 950 + Math.random() * 60 });
    });
    if (!this.frame) this.frame = requestAnimationFrame((time) => this.move(time));
  }

  move(time) {
    this.sparks = this.sparks.filter(({ dot, points, begins }) => {
      const share = (time - begins) / FLIGHT;
      if (share >= 1) { dot.remove(); return false; }
      if (share > 0) {
        const [x, y] = points[Math.round((share < 0.5 ? 2 * share * share : 1 - (2 - 2 * share) ** 2 / 2) * (points.length - 1))];
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", y);
        dot.setAttribute("visibility", "visible");
      }
      return true;
    });
    this.frame = this.sparks.length ? requestAnimationFrame((next) => this.move(next)) : 0;
  }

  /** Show what belongs to the choice: an edge with its ends, or a node with its edges; null for all. */
  choose(numbers, names) {
    this.svg.classList.toggle("dim", Boolean(numbers));
    for (const [number, group] of Object.entries(this.edges)) {
      group.classList.toggle("near", Boolean(numbers?.includes(Number(number))));
      group.classList.toggle("chosen", numbers?.length === 1 && numbers[0] === Number(number));
    }
    for (const [name, group] of Object.entries(this.nodes)) {
      group.classList.toggle("near", Boolean(names?.includes(name)));
      group.classList.toggle("chosen", Boolean(numbers) && numbers.length !== 1 && names[0] === name);
    }
  }

  close() {
    cancelAnimationFrame(this.frame);
  }
}
