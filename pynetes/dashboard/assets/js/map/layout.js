// Where things stand on the map, and how the lines between them run. Pure: numbers in, numbers out.

export const WIDTH = 1240, HEIGHT = 830;

// name in the registry of paths → place. `made` are the components of `pynetes` or other programs that show a socket.
export const NODES = {
  kubectl: { x: 30, y: 70, sub: "people" },
  dashboard: { x: 30, y: 150, label: "dashboard", sub: "this page" },
  "CI/CD tools": { x: 30, y: 230, sub: "Helm, clients" },
  Prometheus: { x: 30, y: 310, sub: "metrics" },
  etcd: { x: 540, y: 50, sub: "the store" },
  "API server": { x: 500, y: 190, w: 240, h: 110, hub: true, sub: "authenticates, authorizes, admits" },
  "controller manager": { x: 850, y: 50, w: 168, made: "kube-controller-manager" },
  controllers: { x: 850, y: 130, w: 168, made: "kube-controller-manager", sub: "work queues" },
  scheduler: { x: 850, y: 210, w: 168, made: "kube-scheduler" },
  "cloud controller": { x: 850, y: 290, w: 168 },
  "cloud provider": { x: 1062, y: 245 },
  "cloud load balancers, volumes": { x: 1062, y: 325, label: "load balancers", sub: "volumes" },
  "ingress controller": { x: 30, y: 484, sub: "nginx" },
  "metrics server": { x: 206, y: 484, made: "metrics-server" },
  kubelet: { x: 410, y: 474, w: 170, h: 66, made: "kubelet", sub: "node agent" },
  "kube-proxy": { x: 610, y: 484, made: "kube-proxy" },
  "DNS server": { x: 890, y: 484, made: "dns" },
  "container runtime": { x: 212, y: 640, w: 160, sub: "containerd" },
  "CSI driver": { x: 400, y: 640, w: 130 },
  "device plugin": { x: 552, y: 640, w: 130 },
  kernel: { x: 706, y: 640, w: 120, sub: "nftables" },
  pod: { x: 840, y: 745, sub: "your programs" },
  "Service, then pod": { x: 1062, y: 745, label: "Service", sub: "then a pod" },
  node: { x: 1062, y: 484, label: "node" },
  "cloud metadata": { x: 1062, y: 620, sub: "169.254.169.254" },
};
const SIZE = { w: 150, h: 52 };

export function box(name) {
  return { ...SIZE, ...NODES[name] };
}

// The sides by which two boxes face each other.
function sides(a, b) {
  const dx = b.x + b.w / 2 - (a.x + a.w / 2), dy = b.y + b.h / 2 - (a.y + a.h / 2);
  const apartX = Math.abs(dx) - (a.w + b.w) / 2, apartY = Math.abs(dy) - (a.h + b.h) / 2;
  if (apartX > apartY * 0.9) return dx > 0 ? ["right", "left"] : ["left", "right"];
  return dy > 0 ? ["bottom", "top"] : ["top", "bottom"];
}

const OUT = { left: [-1, 0], right: [1, 0], top: [0, -1], bottom: [0, 1] };

/** Lines for the paths: {number: {d, points, middle}}. Those that leave a box by one side are spread along it. */
export function lines(paths) {
  const ends = [];
  for (const path of paths) {
    const a = box(path.source), b = box(path.target);
    if (!NODES[path.source] || !NODES[path.target]) continue;
    const [from, to] = sides(a, b);
    ends.push({ path, at: path.source, other: path.target, side: from, start: true }, { path, at: path.target, other: path.source, side: to, start: false });
  }
  const bySide = new Map();
  for (const end of ends) {
    const key = `${end.at} ${end.side}`;
    bySide.set(key, [...(bySide.get(key) || []), end]);
  }
  for (const group of bySide.values()) {
    const flat = ["top", "bottom"].includes(group[0].side);
    const place = (end) => { const other = box(end.other); return flat ? other.x + other.w / 2 : other.y + other.h / 2; };
    group.sort((a, b) => place(a) - place(b) || a.path.number - b.path.number);
    group.forEach((end, index) => {
      const own = box(end.at), share = (index + 1) / (group.length + 1);
      end.x = flat ? own.x + own.w * share : end.side === "right" ? own.x + own.w : own.x;
      end.y = flat ? (end.side === "bottom" ? own.y + own.h : own.y) : own.y + own.h * share;
    });
  }
  const found = {};
  for (let index = 0; index < ends.length; index += 2) {
    const [a, b] = [ends[index], ends[index + 1]];
    const reach = Math.max(24, Math.min(150, Math.hypot(b.x - a.x, b.y - a.y) * 0.42));
    const [ax, ay] = OUT[a.side], [bx, by] = OUT[b.side];
    const curve = [[a.x, a.y], [a.x + ax * reach, a.y + ay * reach], [b.x + bx * reach, b.y + by * reach], [b.x, b.y]];
    found[a.path.number] = { d: `M${curve[0]} C${curve[1]} ${curve[2]} ${curve[3]}`, points: sampled(curve), curve, tip: tip(curve) };
  }
  return found;
}

function sampled(curve, count = 48) {
  return Array.from({ length: count + 1 }, (_, index) => at(curve, index / count));
}

// A small triangle at the end: who is dialled, or whom the events go to.
function tip([, , [cx, cy], [x, y]]) {
  const angle = Math.atan2(y - cy, x - cx);
  const corner = (turn, reach) => `${(x + Math.cos(angle + turn) * reach).toFixed(1)},${(y + Math.sin(angle + turn) * reach).toFixed(1)}`;
  return `M${x},${y} L${corner(Math.PI - 0.45, 9)} L${corner(Math.PI + 0.45, 9)} Z`;
}

/** A point of a cubic curve. */
export function at([p, q, r, s], t) {
  const u = 1 - t;
  return [0, 1].map((axis) => u * u * u * p[axis] + 3 * u * u * t * q[axis] + 3 * u * t * t * r[axis] + t * t * t * s[axis]);
}

/** Where on each line its number stands: as near to the middle as keeps it clear of the others. */
export function tags(found) {
  const taken = [], placed = {};
  for (const [number, line] of Object.entries(found)) {
    const tries = [0.5, 0.4, 0.6, 0.32, 0.68, 0.25, 0.75, 0.18, 0.82];
    const clear = (t) => Math.min(1e9, ...taken.map((other) => Math.hypot(other[0] - at(line.curve, t)[0], other[1] - at(line.curve, t)[1])));
    const best = tries.find((t) => clear(t) > 26) ?? tries.reduce((a, b) => (clear(b) > clear(a) ? b : a));
    placed[number] = at(line.curve, best);
    taken.push(placed[number]);
  }
  return placed;
}
