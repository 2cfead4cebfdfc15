"use strict";
// Plays the record of one run, or of two side by side. `scene.py` says what the data are. Nothing is asked from anywhere.

const SECOND = 1e9;
const DOWN = "Down";
/** What goes to which multicast address. */
const PROTOCOLS = { "224.0.0.5": "ospf", "224.0.0.13": "pim", "ff02::5": "ospf6", "ff02::d": "pim6" };

/** A value that changes at moments; `at` is what it was then. */
class Track {
  constructor(first) { this.times = [-Infinity]; this.values = [first]; }
  set(t, value) {
    const last = this.times.length - 1;
    if (this.values[last] === value) return;
    if (this.times[last] === t) this.values[last] = value;
    else { this.times.push(t); this.values.push(value); }
  }
  index(t) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= t) low = middle; else high = middle - 1;
    }
    return low;
  }
  at(t) { return this.values[this.index(t)]; }
}

/** How many in a sorted list are at most t. */
function upTo(list, t) {
  let low = 0, high = list.length;
  while (low < high) { const middle = (low + high) >> 1; if (list[middle] <= t) low = middle + 1; else high = middle; }
  return low;
}

/** One run: what was so at every moment, worked out from its events. */
class Scene {
  constructor(raw) {
    Object.assign(this, raw);
    this.tracks = new Map();
    this.marks = { fault: [], deploy: [], adjacency: [], keyed: [], rekeyed: [], request: [], problem: [] };
    this.lost = [];
    this.gaps = new Map(Object.entries(raw.streams).map(([name, stream]) => [name, stream.gap]));
    this.streams = new Map([...this.gaps.keys()].map((name) => [name, []]));
    this.receivers = Object.values(raw.streams).reduce((sum, stream) => sum + stream.receivers, 0);
    this.rows = new Map();
    this.byId = new Map(Object.entries(this.network.routers).map(([name, router]) => [router.id, name]));
    this.ways = this.network.adjacencies.map(([router, ifname, neighbor]) => ({ router, ifname, neighbor }));
    this.ends = new Map();
    for (const way of this.ways) this.list(this.ends, `${way.router} ${way.ifname}`).push(way);
    this.within = new Set();
    for (const [name, { members }] of Object.entries(this.network.segments)) if (!this.region.length || this.region.includes(name)) {
      for (const [node, ifname] of members) this.within.add(node).add(`${node} ${ifname}`);
    }
    this.full = new Track(0);
    this.keyed = new Track(0);
    this.routes = new Track(null);
    this.generations = new Map();
    this.members = new Map();
    this.wires = new Map();
    this.index = new Map();
    this.counts = { full: 0, keyed: 0 };
    for (const event of this.events) this.take(event);
    this.requests = this.marks.request.map((event) => event.t);
  }

  track(kind, ...names) {
    const key = JSON.stringify([kind, ...names]);
    if (!this.tracks.has(key)) this.tracks.set(key, new Track({ adj: DOWN, mode: this.mode, power: true, carrier: true, alive: true, loss: this.network.segments[names[0]]?.loss }[kind] ?? false));
    return this.tracks.get(key);
  }

  /** Counts what is Full or keyed in one direction. */
  way(kind, total, t, good, ...names) {
    const track = this.track(kind, ...names), before = good(track.values.at(-1));
    return (value) => {
      track.set(t, value);
      const after = good(value);
      if (after !== before) {
        this.counts[total] += after ? 1 : -1;
        this[total].set(t, this.counts[total]);
      }
    };
  }

  adjacency(t, router, ifname, neighbor, state) {
    this.way("adj", "full", t, (value) => value === "Full" || value === "2-Way" && this.onLan(router, ifname), router, ifname, neighbor)(state);
  }

  key(t, router, ifname, neighbor, value) {
    this.way("keyed", "keyed", t, Boolean, router, ifname, neighbor)(value);
  }

  /** Whether a router, or its interface, is to be protected at all: the others run no agent, and speak in clear. */
  isWithin(...names) { return this.agents && this.within.has(names.join(" ")); }

  onLan(router, ifname) { return this.network.routers[router]?.interfaces[ifname] === "lan"; }

  take(event) {
    const { t, node, source, kind } = event;
    for (const name of new Set([node, event.neighbor, event.peer, event.router, event.receiver])) if (name) {
      if (!this.index.has(name)) this.index.set(name, []);
      this.index.get(name).push(event);
    }
    if (node === "intruder" && event.segment) this.track("intruder", event.segment).set(t, true);
    if (source === "fault") this.fault(event);
    else if (source === "link" && this.network.routers[node]) this.track("carrier", node, event.ifname).set(t, kind === "up");
    else if (source === "frr" && kind === "adjacency" && event.daemon === this.network.daemon) {
      const neighbor = this.byId.get(event.neighbor);
      if (neighbor) this.adjacency(t, node, event.ifname, neighbor, event.state === "Deleted" ? DOWN : event.state);
      this.marks.adjacency.push(event);
    } else if (source === "view" && kind === "routes") this.routes.set(t, event);
    else if (source === "view" && kind === "wire") this.list(this.wires, `${node} ${event.ifname}`).push(event);
    else if (source === "probe" && kind === "loss") this.lose(this.lost, event, event.flow, 0);
    else if (source === "probe" && kind === "stream_loss") this.lose(this.list(this.streams, event.stream), event, event.receiver, this.gaps.get(event.stream) ?? 0);
    else if (kind === "deploy" && event.result === "taken") this.deploy(event);
    else if (source === "agent") this.agent(event);
  }

  /** Steps of a deployment: what interfaces are to be from now on. */
  deploy(event) {
    this.marks.deploy.push(event);
    for (const change of Array.isArray(event.changes) ? event.changes : []) {
      const [, router, ifname, mode] = /^([^:]+):([^: ]+)[^:]*: .* -> (\w+)$/.exec(change) ?? [];
      if (router) this.track("mode", router, ifname).set(event.t, mode);
    }
  }

  list(map, key) { if (!map.has(key)) map.set(key, []); return map.get(key); }

  /** Packets with numbers in a row that never came. While the run goes on, a later word on a row is a longer one. */
  lose(spans, event, who, gap) {
    const key = JSON.stringify([event.stream ?? null, who, event.first_seq]), count = event.last_seq - event.first_seq + 1;
    const row = [event.sent_first_ns, event.sent_last_ns + gap, who, count], known = this.rows.get(key);
    if (known) Object.assign(known, row);
    else { this.rows.set(key, row); spans.push(row); }
  }

  fault(event) {
    const { t, node, kind } = event;
    this.marks.fault.push(event);
    if (kind === "power_on") this.track("power", node).set(t, true);
    if (node === "dks" && ["dks_kill", "dks_start", "power_off", "power_on"].includes(kind)) this.track("alive", node).set(t, kind === "dks_start" || kind === "power_on");
    if (kind === "link_netem" && event.loss_percent !== undefined) this.track("loss", event.segment).set(t, event.loss_percent);
    if (kind !== "power_off") return;
    this.track("power", node).set(t, false);
    this.track("ready", node).set(t, false);
    for (const way of this.ways) if (way.router === node) {
      this.adjacency(t, node, way.ifname, way.neighbor, DOWN);
      this.key(t, node, way.ifname, way.neighbor, false);
    }
    for (const [key, bars] of this.generations) if (key.startsWith(`${node} `)) for (const bar of bars) bar[1] ??= t;
    this.unregister(node, t, () => true);
  }

  /** Members of this router's groups are none any more. */
  unregister(node, t, which) {
    for (const [key, spans] of this.members) if (key.startsWith(`${node} `)) for (const span of spans) if (which(span[2])) span[1] ??= t;
  }

  agent(event) {
    const { t, node, kind } = event;
    if (kind === "keyed") { this.key(t, node, event.interface, event.neighbor, true); this.marks.keyed.push(event); }
    else if (kind === "ready") this.track("ready", node).set(t, true);
    else if (kind === "rekeyed") this.marks.rekeyed.push(event);
    else if (kind === "member" && typeof event.group === "string") {
      const spans = this.list(this.members, [node, ...event.group.split("/").slice(-2)].join(" "));
      if (!spans.some(([, until, peer]) => until === null && peer === event.peer)) spans.push([t, null, event.peer]);
    } else if (kind === "revocation" && Array.isArray(event.neighbors)) this.unregister(node, t, (peer) => event.neighbors.includes(peer));
    else if (kind === "request") this.marks.request.push(event);
    else if (kind === "error" || kind === "closed") this.marks.problem.push(event);
    else if (kind === "sa" && event.direction === "out") {
      const bars = this.list(this.generations, `${node} ${event.interface} ${event.destination}`);
      const open = bars.findLast((bar) => bar[2] === event.generation && bar[1] === null);
      if (event.change === "removed") { if (open) open[1] = t; }
      else if (!open) bars.push([t, null, event.generation]);
    }
  }

  seconds(t) { return (t - this.zero) / SECOND; }
  moment(seconds) { return this.zero + seconds * SECOND; }

  /** What the page's words and the tests ask: the sums at a moment. */
  sums(t) {
    const routes = this.routes.at(t);
    const routers = Object.keys(this.network.routers);
    return {
      powered: routers.filter((name) => this.track("power", name).at(t)).length,
      routers: routers.length,
      full: this.full.at(t),
      ways: this.ways.length,
      keyed: this.keyed.at(t),
      right: routes?.right ?? null,
      of: routes?.of ?? null,
      requests: upTo(this.requests, t),
      alive: this.track("alive", "dks").at(t),
      intruded: Object.keys(this.network.segments).filter((name) => this.track("intruder", name).at(t)),
      missing: [...this.streams.values()].reduce((sum, spans) => sum + new Set(spans.filter(([from, until]) => from <= t && t < until).map((span) => span[2])).size, 0),
    };
  }
}

// -- the page -----------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const MOST_UNIT = 2.6, MANY = 60, MARGIN = 75, REKEYS = 0.15;
let MARKS = {};
const mark = (name) => MARKS[name][0];
const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

function draw(tag, attributes = {}, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Sets what has changed alone: a page of fifty routers is drawn thirty times a second. */
function shown(element, className, text) {
  if (element.lastClass !== className) { element.setAttribute("class", className); element.lastClass = className; }
  if (text !== undefined && element.lastText !== text) { element.textContent = text; element.lastText = text; }
}

const SIDES = { south: [0, 1], north: [0, -1], east: [1, 0], west: [-1, 0] };
const LETTER = 8.2, HIGH = 14, UNIT = 2.2, NEAR = 26, SAMPLES = 8, ROUNDS = 3;

/** On which side of each router its name hides least: other routers, names, and the ends of links. */
function sides(network, at, [left, top, wide, tall], ways) {
  const names = Object.keys(network.routers), found = new Map(), placed = new Map(), points = [];
  if (names.length > MANY) return found;
  const centres = [...names, ...Object.keys(network.lans)].map(at);
  for (const way of ways) {
    const length = way.getTotalLength();
    for (let n = 1; n <= SAMPLES; n++) points.push(way.getPointAtLength(length * n / SAMPLES));
  }
  const over = ([x1, y1, x2, y2], [a1, b1, a2, b2]) => Math.max(0, Math.min(x2, a2) - Math.max(x1, a1)) * Math.max(0, Math.min(y2, b2) - Math.max(y1, b1));
  for (let round = 0; round < ROUNDS; round++) for (const name of names) {
    const [x, y] = at(name), across = name.length * LETTER * UNIT, high = HIGH * UNIT;
    let best = null;
    for (const [side, [right, down]] of Object.entries(SIDES)) {
      const cx = x + right * (NEAR + across / 2), cy = y + down * (NEAR + high / 2);
      const mine = [cx - across / 2, cy - high / 2, cx + across / 2, cy + high / 2];
      let cost = across * high - over(mine, [left, top, left + wide, top + tall]);
      for (const [ox, oy] of centres) if (ox !== x || oy !== y) cost += 3 * over(mine, [ox - NEAR, oy - NEAR, ox + NEAR, oy + NEAR]);
      for (const [other, each] of placed) if (other !== name) cost += 3 * over(mine, each);
      for (const point of points) if (point.x > mine[0] && point.x < mine[2] && point.y > mine[1] && point.y < mine[3]) cost += high * high / 2;
      if (best === null || cost < best.cost - 1) best = { cost, side, mine };
    }
    found.set(name, best.side);
    placed.set(name, best.mine);
  }
  return found;
}

/** The network of one scene, and its state at a moment. */
class MapView {
  constructor(scene, choose, alone) {
    this.scene = scene;
    this.ways = [];
    this.nodes = [];
    this.powered = [];
    this.beside = [];
    const { network } = scene;
    const at = (name) => (network.routers[name]?.at ?? network.lans[name]).map((part) => part * 1000);
    const places = [...Object.keys(network.routers), ...Object.keys(network.lans)].map(at);
    const [left, top] = [0, 1].map((axis) => Math.min(...places.map((place) => place[axis])) - MARGIN);
    const [right, bottom] = [0, 1].map((axis) => Math.max(...places.map((place) => place[axis])) + MARGIN);
    const box = [left, top, right - left, bottom - top];
    const svg = draw("svg", { class: Object.keys(network.routers).length > MANY ? "many" : "few", viewBox: box.join(" "), role: "group", "aria-label": `Network ${network.name}` });
    const lines = draw("g"), glyphs = draw("g"), hits = draw("g"), boxes = draw("g");
    svg.append(lines, hits, boxes, glyphs);
    this.over = glyphs;
    const beside = new Map();
    for (const [name, segment] of Object.entries(network.segments)) {
      const members = segment.members.filter(([node]) => network.routers[node]);
      if (segment.kind === "p2p" && members.length === 2) {
        const pair = members.map(([node]) => node).sort().join(" "), number = beside.get(pair) ?? 0;
        beside.set(pair, number + 1);
        const [one, other] = members, bend = number === 0 ? 0 : (number % 2 ? 1 : -1) * Math.ceil(number / 2) * 46;
        this.half(lines, glyphs, one, other[0], at(one[0]), at(other[0]), bend);
        this.half(lines, glyphs, other, one[0], at(other[0]), at(one[0]), -bend);
        this.hit(hits, name, at(one[0]), at(other[0]), bend, choose);
        const [[x1, y1], [x2, y2]] = [at(one[0]), at(other[0])], length = Math.hypot(x2 - x1, y2 - y1) || 1;
        this.word(glyphs, name, (x1 + x2) / 2 - (y2 - y1) / length * bend, (y1 + y2) / 2 + (x2 - x1) / length * bend);
      } else if (segment.kind === "lan") {
        for (const member of members) this.half(lines, glyphs, member, null, at(member[0]), at(name), 0, true);
        const [x, y] = at(name), group = draw("g", { class: "lan", tabindex: 0, role: "button", "aria-label": `LAN ${name}` });
        group.append(draw("rect", { x: x - 13, y: y - 9, width: 26, height: 18 }), draw("text", { x, y: y + 13, class: "name" }, name));
        this.choosable(group, "segment", name, choose);
        boxes.append(group);
        this.word(glyphs, name, x, y - 18);
      }
    }
    this.sides = sides(network, at, box, lines.querySelectorAll("path"));
    for (const name of Object.keys(network.routers)) boxes.append(this.router(name, at(name), choose));
    this.element = make("div", { class: "map" });
    if (!alone) this.element.append(make("h2", {}, scene.name));
    this.element.append(svg);
    // Words keep their size whatever that of the drawing is, up to where they would hide each other.
    const most = MOST_UNIT * Math.min(1, Math.sqrt(MANY / Object.keys(network.routers).length));
    new ResizeObserver(() => {
      const unit = Math.max(box[2] / (svg.clientWidth || box[2]), box[3] / (svg.clientHeight || box[3]));
      svg.style.setProperty("--unit", Math.min(most, unit).toFixed(3));
    }).observe(svg);
  }

  choosable(element, what, name, choose) {
    const chosen = () => choose(this.scene, what, name);
    element.addEventListener("click", chosen);
    element.addEventListener("keydown", (event) => { if (event.key === "Enter") { chosen(); event.preventDefault(); } });
    this.nodes.push({ element, what, name });
  }

  /** One end's part of a link: what this router's interface says of the neighbour. */
  half(lines, glyphs, [router, ifname], neighbor, [x1, y1], [x2, y2], bend, whole = false) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1, nx = -(y2 - y1) / length * bend, ny = (x2 - x1) / length * bend;
    const middle = whole ? [x2, y2] : [(x1 + x2) / 2 + nx, (y1 + y2) / 2 + ny];
    const path = `M${x1},${y1} Q${(x1 + middle[0]) / 2 + nx / 4},${(y1 + middle[1]) / 2 + ny / 4} ${middle[0]},${middle[1]}`;
    const line = draw("path", { class: "way", d: path });
    const part = whole ? 0.45 : 0.72;
    const glyph = draw("text", { class: "glyph", x: x1 + (middle[0] - x1) * part, y: y1 + (middle[1] - y1) * part });
    lines.append(line);
    glyphs.append(glyph);
    const mine = (this.scene.ends.get(`${router} ${ifname}`) ?? []).filter((way) => neighbor === null || way.neighbor === neighbor);
    this.ways.push({ line, glyph, router, ifname, mine });
  }

  hit(hits, name, [x1, y1], [x2, y2], bend, choose) {
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const path = `M${x1},${y1} Q${(x1 + x2) / 2 - (y2 - y1) / length * bend * 2},${(y1 + y2) / 2 + (x2 - x1) / length * bend * 2} ${x2},${y2}`;
    const line = draw("path", { class: "hit", d: path, tabindex: 0, role: "button", "aria-label": `Link ${name}` });
    this.choosable(line, "segment", name, choose);
    hits.append(line);
  }

  /** Where a link or LAN tells what it loses, and that an intruder is there. */
  word(glyphs, name, x, y) {
    const element = draw("text", { class: "glyph", x, y });
    glyphs.append(element);
    this.beside.push({ element, name });
  }

  router(name, [x, y], choose) {
    const { network } = this.scene, group = draw("g", { class: "router", tabindex: 0, role: "button", "aria-label": `Router ${name}` });
    const small = Object.keys(network.routers).length > MANY, r = small ? 6 : 13;
    group.append(draw("circle", { cx: x, cy: y, r }));
    group.append(draw("path", { class: "cross", d: `M${x - r * 0.6},${y - r * 0.6} L${x + r * 0.6},${y + r * 0.6} M${x - r * 0.6},${y + r * 0.6} L${x + r * 0.6},${y - r * 0.6}` }));
    const letters = [name === network.dks ? mark("dks") : "", name === network.rp ? mark("rp") : ""].join("");
    const side = this.sides.get(name) ?? "south", [right, down] = SIDES[side], other = side === "north" ? 1 : -1;
    if (letters) this.over.append(draw("text", { class: `mark ${other > 0 ? "south" : "north"}`, x, y: y + other * (r + 4), "aria-hidden": "true" }, letters));
    if (name === network.dks) this.dks = this.over.lastChild;
    this.over.append(draw("text", { class: `name ${side}`, "aria-hidden": "true", x: x + right * (r + 4), y: y + down * (r + 4) }, name));
    this.choosable(group, "router", name, choose);
    this.powered.push({ element: group, name });
    return group;
  }

  show(t, chosen) {
    const { scene } = this;
    for (const { element, name } of this.powered) {
      const on = scene.track("power", name).at(t), waits = scene.isWithin(name) && !scene.track("ready", name).at(t);
      const mine = chosen?.what === "router" && chosen.name === name;
      shown(element, `router${on ? "" : " off"}${on && waits ? " waiting" : ""}${mine ? " chosen" : ""}`);
    }
    for (const { element, what, name } of this.nodes) if (what === "segment") {
      shown(element, `${element.tagName === "g" ? "lan" : "hit"}${chosen?.what === what && chosen.name === name ? " chosen" : ""}`);
    }
    for (const { element, name } of this.beside) {
      const lost = scene.track("loss", name).at(t), intruded = scene.track("intruder", name).at(t);
      shown(element, intruded ? "glyph intruded" : "glyph", [intruded ? mark("intruder") : "", lost ? `${lost} %` : ""].join(""));
    }
    if (this.dks && scene.agents) {
      const { dks, rp } = scene.network;
      shown(this.dks, this.dks.getAttribute("class"), mark(scene.track("alive", "dks").at(t) ? "dks" : "dead") + (dks === rp ? mark("rp") : ""));
    }
    for (const { line, glyph, router, ifname, mine } of this.ways) {
      const states = mine.map((way) => scene.track("adj", router, ifname, way.neighbor).at(t));
      const full = states.filter((state) => state === "Full" || state === "2-Way" && scene.onLan(router, ifname)).length;
      const carrier = scene.track("carrier", router, ifname).at(t);
      const how = !carrier ? "dark" : full === mine.length ? "full" : states.some((state) => state !== DOWN) ? "between" : "down";
      shown(line, `way ${how}`);
      const [letter, kind] = protection(scene, router, ifname, mine, t);
      shown(glyph, `glyph ${kind}`, letter);
    }
  }
}

/** What an end of a link is: a mark, and a word for it. */
function protection(scene, router, ifname, mine, t) {
  if (scene.agents && !scene.isWithin(router, ifname)) return [mark("clear"), "clear"];
  if (scene.agents && !scene.clear.length && wire(scene, router, ifname, t).clear > 0) return [mark("exposed"), "unkeyed sent-in-clear"];
  if (!scene.agents) return scene.keying === "none" ? [mark("clear"), "clear"] : [mark("static"), "static"];
  const mode = scene.track("mode", router, ifname).at(t);
  if (mode === "clear" || mode === "listen") return [mark(mode), mode];
  const keyed = mine.filter((way) => scene.track("keyed", router, ifname, way.neighbor).at(t)).length;
  const whole = keyed === mine.length && mine.length > 0;
  if (mode === "permissive") return [mark(mode), whole ? "permissive keyed" : "permissive unkeyed"];
  return whole ? [mark("required"), "required keyed"] : [mark(keyed ? "some" : "unkeyed"), "required unkeyed"];
}

/** What a capture saw at an interface, in the second of t and in all up to it. */
function wire(scene, router, ifname, t) {
  const seen = scene.wires.get(`${router} ${ifname}`) ?? [];
  const found = { protected: 0, clear: 0, allProtected: 0, allClear: 0, known: seen.length > 0 };
  for (const event of seen) {
    if (event.t > t + SECOND) break;
    if (event.t > t) { found.protected += event.protected; found.clear += event.clear; }
    found.allProtected += event.protected;
    found.allClear += event.clear;
  }
  return found;
}

/** Lanes of one scene below the maps. */
class Lanes {
  constructor(scene, alone) {
    this.scene = scene;
    this.element = make("div");
    if (!alone) this.element.append(make("h2", {}, scene.name));
    this.lanes = [
      this.lane("faults", (...at) => this.ticks(scene.marks.fault, "--bad", ...at), "short"),
      this.lane("adjacencies Full", (...at) => this.area(scene.full, () => scene.ways.length, (value) => value, "--good", ...at)),
    ];
    if (scene.agents) {
      this.lanes.push(this.lane("directions keyed", (...at) => this.area(scene.keyed, () => scene.ways.filter((way) => scene.isWithin(way.router, way.ifname)).length, (value) => value, "--link", ...at)));
      this.lanes.push(this.lane("keys: generations (bars), rekeys (ticks)", (paper, width, height, ...at) => {
        this.ticks(scene.marks.rekeyed, "--ink", paper, width, height * REKEYS, ...at);
        this.bars(paper, width, height, ...at);
      }, "tall"));
    }
    this.lanes.push(this.lane("routes right", (...at) => this.area(scene.routes, (value) => value?.of || 1, (value) => value?.right ?? 0, "--good", ...at)));
    for (const [name, spans] of scene.streams) this.lanes.push(this.lane(`stream ${name} not heard`, (...at) => this.spans(spans, ...at), "short"));
    if (scene.flows.length) this.lanes.push(this.lane("probe packets lost", (...at) => this.spans(scene.lost, ...at), "short"));
    if (scene.agents) this.lanes.push(this.lane("DKS requests per second", (...at) => this.histogram(scene.requests, ...at)));
    for (const lane of this.lanes) this.element.append(lane.row);
  }

  lane(name, paint, more = "") {
    const canvas = make("canvas", { role: "img", "aria-label": name }), line = make("i", { "aria-hidden": "true" });
    return { row: make("div", { class: `lane ${more}` }, make("span", {}, name), make("div", { class: "strip" }, canvas, line)), canvas, line, paint };
  }

  /** Paints all lanes for a window of time (seconds), when it is another one; the cursor is a line above them. */
  show(from, until, cursor, style) {
    for (const lane of this.lanes) {
      // Asked for once: to ask is to have the whole page laid out.
      lane.size ??= [lane.canvas.clientWidth, lane.canvas.clientHeight];
      const { canvas, line, size: [across, tall] } = lane, scale = devicePixelRatio || 1;
      const width = Math.round(across * scale), height = Math.round(tall * scale);
      const wanted = `${from} ${until} ${width} ${height} ${style.name} ${this.scene.end} ${this.scene.events.length}`;
      if (lane.painted !== wanted) {
        lane.painted = wanted;
        canvas.width = width;
        canvas.height = height;
        lane.paint(canvas.getContext("2d"), width, height, (t) => (this.scene.seconds(t) - from) / (until - from) * width, style);
      }
      line.style.setProperty("transform", `translateX(${Math.round((cursor - from) / (until - from) * across)}px)`);
    }
  }

  ticks(events, color, paper, width, height, x, style) {
    paper.fillStyle = style[color];
    for (const event of events) { const at = x(event.t); if (at >= 0 && at <= width) paper.fillRect(at, height * 0.1, 2, height * 0.8); }
  }

  /** Generations in the kernel: a row for each interface and destination. They overlap while keys change. */
  bars(paper, width, height, x, style) {
    const rows = [...this.scene.generations.values()], top = height * REKEYS, row = (height - top) / rows.length;
    paper.fillStyle = style["--link"];
    for (const [number, bars] of rows.entries()) for (const [place, [since, until]] of bars.entries()) {
      const left = Math.max(0, x(since)), right = Math.min(width, x(until ?? this.scene.end));
      if (right < left) continue;
      const at = [left, top + number * row, Math.max(1, right - left), row * (row > 3 ? 0.8 : 1)];
      paper.globalAlpha = place % 2 ? 0.35 : 0.6;
      paper.fillRect(...at);
      paper.globalAlpha = 1;
      if (x(since) >= 0) paper.fillRect(left, at[1], 2, at[3]);
    }
  }

  area(track, whole, part, color, paper, width, height, x, style) {
    for (let number = 0; number < track.times.length; number++) {
      const value = track.values[number], left = Math.max(0, number ? x(track.times[number]) : 0);
      const right = Math.min(width, number + 1 < track.times.length ? x(track.times[number + 1]) : x(this.scene.end));
      if (right <= left) continue;
      const share = Math.min(1, part(value) / (whole(value) || 1)), top = height * (1 - 0.92 * share);
      paper.fillStyle = style[share === 1 ? color : "--soft"];
      paper.globalAlpha = share === 1 ? 0.55 : 0.35;
      paper.fillRect(left, top, right - left, height - top);
      paper.globalAlpha = 1;
      if (share < 1) hatch(paper, left, 0, right - left, height, style["--bad"]);
    }
  }

  spans(spans, paper, width, height, x, style) {
    for (const [from, until] of spans) {
      const left = Math.max(0, x(from)), right = Math.min(width, x(until));
      if (right > left) { paper.fillStyle = style["--bad"]; paper.globalAlpha = 0.6; paper.fillRect(left, height * 0.2, Math.max(2, right - left), height * 0.6); paper.globalAlpha = 1; }
    }
  }

  histogram(times, paper, width, height, x, style) {
    const counts = new Map();
    for (const t of times) { const second = Math.floor(this.scene.seconds(t)); counts.set(second, (counts.get(second) ?? 0) + 1); }
    const most = Math.max(1, ...counts.values());
    paper.fillStyle = style["--link"];
    for (const [second, count] of counts) {
      const left = x(this.scene.moment(second)), right = x(this.scene.moment(second + 1));
      paper.fillRect(left, height * (1 - 0.92 * count / most), Math.max(1.5, right - left), height);
    }
    paper.fillStyle = style["--ink"];
    paper.strokeStyle = style["--paper"];
    paper.lineWidth = height * 0.12;
    paper.font = `${Math.round(height * 0.32)}px sans-serif`;
    const told = [times.length ? `at most ${most}` : "none", 4, height * 0.4];
    paper.strokeText(...told);
    paper.fillText(...told);
  }
}

function hatch(paper, left, top, width, height, color) {
  paper.save();
  paper.beginPath();
  paper.rect(left, top, width, height);
  paper.clip();
  paper.strokeStyle = color;
  paper.globalAlpha = 0.5;
  paper.beginPath();
  for (let at = Math.floor((left - height) / 8) * 8; at < left + width; at += 8) { paper.moveTo(at, height); paper.lineTo(at + height, 0); }
  paper.stroke();
  paper.restore();
}

/** All of it: cursor, playback, what is chosen. Seconds are those of the first scene's zero. */
class Player {
  constructor(scenes, told, speed, live = false) {
    this.scenes = scenes;
    this.told = new Track("");
    for (const [t, text] of told) this.told.set(t, text);
    this.from = Math.min(...scenes.map((scene) => scene.seconds(scene.start)));
    this.until = Math.max(...scenes.map((scene) => scene.seconds(scene.end)));
    this.window = [this.from, this.until];
    this.cursor = Math.max(this.from, Math.min(0, this.until));
    this.chosen = null;
    this.playing = false;
    /** Whether more of the record may come. */
    this.grows = live;
    const alone = scenes.length === 1;
    const choose = (scene, what, name) => { this.chosen = { scene, what, name }; this.changed = true; this.show(); };
    this.maps = scenes.map((scene) => new MapView(scene, choose, alone));
    this.lanes = scenes.map((scene) => new Lanes(scene, alone));
    $("maps").append(...this.maps.map((map) => map.element));
    $("lanes").append(...this.lanes.map((lanes) => lanes.element));
    for (const speed of [1, 2, 5, 10, 20, 50, 100]) $("speed").append(make("option", { value: speed }, `${speed} ×`));
    $("speed").value = "10";
    const kinds = Object.keys(scenes[0].marks).filter((kind) => live || scenes.some((scene) => scene.marks[kind].length));
    for (const kind of kinds) $("kind").append(make("option", { value: kind }, kind));
    this.legend();
    this.listen();
    if (speed) {
      if (![...$("speed").options].some((option) => option.value === String(speed))) $("speed").append(make("option", { value: speed }, `${speed} ×`));
      $("speed").value = String(speed);
      this.cursor = this.from;
    }
    if (live && !speed) this.cursor = this.until;
    this.fromAddress();
    this.show();
    if (speed && !location.hash) this.play();
  }

  listen() {
    const cursor = $("cursor");
    cursor.min = this.from;
    cursor.max = this.until;
    cursor.addEventListener("input", () => this.go(Number(cursor.value)));
    cursor.addEventListener("change", () => this.toAddress());
    $("play").addEventListener("click", () => this.play());
    $("next").addEventListener("click", () => this.jump(1));
    $("back").addEventListener("click", () => this.jump(-1));
    $("closer").addEventListener("click", () => this.zoom(0.5));
    $("wider").addEventListener("click", () => this.zoom(2));
    addEventListener("resize", () => { for (const { lanes } of this.lanes) for (const lane of lanes) lane.size = null; this.show(); });
    addEventListener("hashchange", () => { this.fromAddress(); this.show(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    for (const { lanes } of this.lanes) for (const { canvas } of lanes) {
      const move = (event) => this.go(this.window[0] + event.offsetX / canvas.clientWidth * (this.window[1] - this.window[0]));
      canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); move(event); });
      canvas.addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
      canvas.addEventListener("pointerup", () => this.toAddress());
    }
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      const step = event.shiftKey ? 10 : 1;
      const deeds = {
        " ": () => this.play(), ArrowLeft: () => this.go(this.cursor - step), ArrowRight: () => this.go(this.cursor + step),
        "[": () => this.jump(-1), "]": () => this.jump(1), "+": () => this.zoom(0.5), "-": () => this.zoom(2),
        Home: () => this.go(this.from), End: () => this.go(this.until),
      };
      if (!(event.key in deeds) || event.key === " " && event.target.tagName === "BUTTON") return;
      event.preventDefault();
      deeds[event.key]();
      this.toAddress();
    });
  }

  go(seconds) {
    this.cursor = Math.max(this.from, Math.min(this.until, seconds));
    const [from, until] = this.window, width = until - from;
    if (this.cursor < from || this.cursor > until) {
      const left = Math.max(this.from, Math.min(this.until - width, this.cursor - width / 2));
      this.window = [left, left + width];
    }
    this.changed = true;
    if (!this.playing) this.show();
  }

  zoom(factor) {
    const width = Math.min(this.until - this.from, Math.max(0.01, (this.window[1] - this.window[0]) * factor));
    const left = Math.max(this.from, Math.min(this.until - width, this.cursor - width / 2));
    this.window = [left, left + width];
    this.show();
  }

  /** What came since: the cursor stays at the end if it was there, and the window shows all if it did. */
  grow(events, end) {
    const [scene] = this.scenes, atEnd = this.cursor >= this.until, whole = this.window[0] <= this.from && this.window[1] >= this.until;
    for (const event of events) { scene.events.push(event); scene.take(event); }
    scene.requests = scene.marks.request.map((event) => event.t);
    scene.end = Math.max(scene.end, end);
    this.until = Math.max(this.until, scene.seconds(scene.end));
    if (whole) this.window = [this.from, this.until];
    $("cursor").max = this.until;
    if (atEnd && !this.playing) this.go(this.until);
    this.changed = true;
    if (!this.playing) this.show();
  }

  play() {
    this.playing = !this.playing;
    $("play").textContent = this.playing ? "Stop" : "Play";
    if (!this.playing) { this.toAddress(); this.show(); return; }
    if (this.cursor >= this.until) this.cursor = this.from;
    let before = null;
    const frame = (now) => {
      if (!this.playing) return;
      if (before !== null) this.go(this.cursor + (now - before) / 1000 * Number($("speed").value));
      before = now;
      this.show();
      if (this.cursor >= this.until && !this.grows) this.play(); else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** To the nearest event of the chosen kind before or after the cursor. */
  jump(way) {
    const kind = $("kind").value;
    const times = this.scenes.flatMap((scene) => scene.marks[kind].map((event) => scene.seconds(event.t))).sort((a, b) => a - b);
    const found = way > 0 ? times.find((t) => t > this.cursor + 1e-6) : times.findLast((t) => t < this.cursor - 1e-6);
    if (found !== undefined) { this.go(found); this.toAddress(); }
  }

  fromAddress() {
    const words = new URLSearchParams(location.hash.slice(1)), t = Number.parseFloat(words.get("t"));
    if (Number.isFinite(t)) this.go(t);
    for (const what of ["router", "segment"]) {
      const name = words.get(what), scene = this.scenes[0];
      const known = what === "router" ? scene.network.routers : scene.network.segments;
      if (name !== null && Object.hasOwn(known, name)) this.chosen = { scene, what, name };
    }
  }

  toAddress() {
    const words = new URLSearchParams({ t: this.cursor.toFixed(3) });
    if (this.chosen) words.set(this.chosen.what, this.chosen.name);
    history.replaceState(null, "", `#${words}`);
  }

  style() {
    const computed = getComputedStyle(document.documentElement), found = {};
    for (const name of ["--ink", "--soft", "--good", "--bad", "--link", "--line", "--paper"]) found[name] = computed.getPropertyValue(name).trim();
    found.name = found["--ink"];
    return found;
  }

  show() {
    const style = this.style();
    for (const [number, scene] of this.scenes.entries()) {
      const t = scene.moment(this.cursor), chosen = this.chosen?.scene === scene ? this.chosen : null;
      this.maps[number].show(t, chosen);
      this.lanes[number].show(...this.window, this.cursor, style);
    }
    const cursor = $("cursor");
    cursor.value = this.cursor;
    cursor.setAttribute("aria-valuetext", `${this.cursor.toFixed(3)} seconds since ${this.scenes[0].since}`);
    const words = this.words();
    if ($("now").textContent !== words) $("now").textContent = words;
    const story = this.told.at(this.scenes[0].moment(this.cursor));
    if ($("told").textContent !== story) $("told").textContent = story;
    if (!this.playing || this.changed && performance.now() - (this.detailed ?? 0) > 250) { this.details(); this.detailed = performance.now(); }
    this.changed = false;
  }

  words() {
    const told = this.scenes.map((scene) => {
      const sums = scene.sums(scene.moment(this.cursor));
      const parts = [`${sums.powered} of ${sums.routers} routers with power`, `${sums.full} of ${sums.ways} adjacencies Full`];
      if (scene.clear.length) parts.push(`${scene.clear.join(" and ")} left in clear`);
      if (scene.agents) parts.push(`${sums.keyed} keyed`, `${sums.requests} requests at the DKS${sums.alive ? "" : ", which is dead"}`);
      if (sums.intruded.length) parts.push(`an intruder on ${sums.intruded.join(" and ")}`);
      if (sums.of !== null) parts.push(`${sums.right} of ${sums.of} routes right`);
      if (scene.receivers) parts.push(`${sums.missing} of ${scene.receivers} receivers miss packets of a stream`);
      return (this.scenes.length > 1 ? `${scene.keying}: ` : "") + parts.join(", ");
    });
    return `${this.cursor.toFixed(3)} s since ${this.scenes[0].since}: ${told.length > 1 ? "\n" : ""}${told.join(";\n")}`;
  }

  details() {
    const panel = $("details");
    if (!this.chosen) return;
    const { scene, what, name } = this.chosen, t = scene.moment(this.cursor), kept = panel.scrollTop;
    panel.replaceChildren(make("h2", {}, `${what === "router" ? "Router" : "Link"} ${name}`), ...(what === "router" ? router(scene, name, t) : segment(scene, name, t)));
    panel.scrollTop = kept;
  }

  legend() {
    $("legend").append(...Object.values(MARKS).map(([mark, text]) => make("div", {}, make("dt", {}, mark), make("dd", {}, text))));
  }
}

/** Seconds as people say them, roughly. */
function span(seconds) {
  const [name, unit] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].find(([, each]) => seconds >= 2 * each) ?? ["s", 1];
  return `${Math.round(seconds / unit * 10) / 10} ${name}`;
}

function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const lines = rows.map((row) => make("tr", {}, ...row.map((text) => make("td", {}, text))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
}

function router(scene, name, t) {
  const found = [], node = scene.network.routers[name];
  const on = scene.track("power", name).at(t), ready = scene.track("ready", name).at(t);
  found.push(make("p", {}, `${on ? "Has power" : "Has no power"}${scene.agents && !scene.isWithin(name) ? ", and runs no LKS" : scene.agents && on ? ready ? ", its LKS is ready" : ", its LKS is not ready yet" : ""}. Router ID ${node.id}.`));
  const rows = scene.ways.filter((way) => way.router === name).map((way) => {
    const keyed = scene.track("keyed", name, way.ifname, way.neighbor).at(t);
    return [way.ifname, way.neighbor, scene.track("adj", name, way.ifname, way.neighbor).at(t), scene.isWithin(name, way.ifname) ? keyed ? "keyed" : "unkeyed" : "–"];
  });
  found.push(make("h3", {}, "Neighbours"), table(["interface", "neighbour", "OSPF", "keys"], rows));
  const now = (spans) => spans.filter(([since, until]) => since <= t && (until ?? Infinity) > t).map((span) => span[2]);
  const generations = [...scene.generations].filter(([key]) => key.startsWith(`${name} `)).map(([key, bars]) => {
    const [, ifname, destination] = key.split(" "), protocol = PROTOCOLS[destination];
    const members = protocol && scene.members.size ? now(scene.members.get(`${name} ${ifname} ${protocol}`) ?? []).join(", ") || "none" : "–";
    return [ifname, protocol ?? destination, now(bars).join(", ") || "none", members];
  });
  if (generations.length) found.push(make("h3", {}, "Own groups"), table(["interface", "sends", "generation", "members"], generations));
  const lease = (scene.index.get(name) ?? []).findLast((event) => event.kind === "lease" && event.node === name && event.t <= t);
  if (lease) found.push(make("p", {}, `Lease when it started: ${span(lease.left_s)}.`));
  found.push(...log(scene, name, t));
  return found;
}

function segment(scene, name, t) {
  const found = [], { members, kind } = scene.network.segments[name];
  const rows = [];
  for (const [node, ifname] of members) if (scene.network.routers[node]) {
    const mine = scene.ways.filter((way) => way.router === node && way.ifname === ifname);
    for (const way of mine) rows.push([`${node} → ${way.neighbor}`, scene.track("adj", node, ifname, way.neighbor).at(t), protection(scene, node, ifname, [way], t)[1]]);
  }
  const lost = scene.track("loss", name).at(t);
  found.push(make("p", {}, `${kind === "lan" ? "A LAN" : "Point to point"}${lost ? `, which loses ${lost} % of its packets` : ""}${scene.track("intruder", name).at(t) ? "; an intruder is on it" : ""}.`), table(["direction", "OSPF", "protection"], rows));
  const seen = members.map(([node, ifname]) => [`${node} ${ifname}`, wire(scene, node, ifname, t)]).filter(([, each]) => each.known);
  if (seen.length) found.push(make("h3", {}, "Captured so far, octets"), table(["at", "protected", "in clear"], seen.map(([at, each]) => [at, String(each.allProtected), String(each.allClear)])));
  else found.push(make("p", {}, "The run has no capture of this link."));
  for (const [node, ifname] of members) {
    const carrier = scene.network.routers[node] ? scene.track("carrier", node, ifname).at(t) : true;
    if (!carrier) found.push(make("p", {}, `${node}: no carrier.`));
  }
  return found;
}

/** What was said of a router around the cursor. */
function log(scene, name, t) {
  const events = scene.index.get(name) ?? [], here = upTo(events.map((event) => event.t), t);
  const near = events.slice(Math.max(0, here - 9), here + 6);
  const lines = near.map((event) => {
    const { t: moment, node, source, kind, ...rest } = event;
    const fields = Object.entries(rest).map(([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ");
    return make("li", event === events[here - 1] ? { class: "at" } : {}, `${scene.seconds(moment).toFixed(3)} ${node === name ? "" : `${node} `}${source} ${kind} ${fields}`);
  });
  return [make("h3", {}, "Around the cursor"), make("ol", {}, ...lines)];
}

async function opened() {
  const packed = Uint8Array.from(atob($("data").textContent), (letter) => letter.charCodeAt(0));
  const text = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  return JSON.parse(text);
}

/** Follows a record that grows. Where another run has begun, or this one has ended, the page is another one. */
function follow(player, after, told) {
  const source = new EventSource(`events?after=${after}`);
  source.addEventListener("message", ({ data }) => { const { events, end } = JSON.parse(data); player.grow(events, end); });
  source.addEventListener("other", () => { source.close(); location.reload(); });
  source.addEventListener("over", () => { source.close(); player.grows = false; $("live").textContent = told ? "" : "It has ended."; });
  $("live").textContent = told ? "The network still runs." : "Live: the cursor at the end moves on.";
}

opened().then(({ scenes, told, speed, live, marks }) => {
  MARKS = marks;
  globalThis.player = new Player(scenes.map((raw) => new Scene(raw)), told, speed, live !== null);
  if (live !== null) follow(globalThis.player, live, told.length > 0);
}).catch((error) => { $("now").textContent = `This page cannot be shown: ${error.message}`; throw error; });
