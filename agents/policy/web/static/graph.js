// Draws the domain and lets an adjacency be drawn: from router to router, which fills in the form below the drawing.

const SVG = "http://www.w3.org/2000/svg";
const EDGE = 45, PAIRS = 12e6, RADIUS = 15, LESS = 10, SMALL = 7, MANY = 60;
const LEAST = 340, LEAST_HIGH = 280, SHAPE = 0.5, NARROW = 600, NARROW_SHAPE = 0.9, ROW = 60, APART = 110;

function draw(tag, attributes = {}, ...inside) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

/** Places for all nodes: springs along edges, nodes push each other away; the same domain is drawn the same way. */
function layout(names, pairs) {
  const count = names.length, number = new Map(names.map((name, index) => [name, index]));
  const x = names.map((_, index) => 0.5 + 0.45 * Math.cos(2 * Math.PI * index / count));
  const y = names.map((_, index) => 0.5 + 0.45 * Math.sin(2 * Math.PI * index / count));
  const edges = pairs.map(([a, b]) => [number.get(a), number.get(b)]);
  const rounds = Math.max(20, Math.min(300, Math.round(PAIRS / (count * count + 1)))), best = Math.sqrt(0.6 / count);
  for (let round = 0; round < rounds; round++) {
    const dx = new Float64Array(count), dy = new Float64Array(count), heat = 0.08 * (1 - round / rounds) + 0.001;
    for (let one = 0; one < count; one++) for (let other = one + 1; other < count; other++) {
      const ax = x[one] - x[other] || 1e-4 * (one - other), ay = y[one] - y[other], far = ax * ax + ay * ay + 1e-6;
      const push = best * best / far;
      dx[one] += ax * push; dy[one] += ay * push; dx[other] -= ax * push; dy[other] -= ay * push;
    }
    for (const [one, other] of edges) {
      const ax = x[one] - x[other], ay = y[one] - y[other], pull = Math.hypot(ax, ay) / best;
      dx[one] -= ax * pull; dy[one] -= ay * pull; dx[other] += ax * pull; dy[other] += ay * pull;
    }
    for (let one = 0; one < count; one++) {
      dx[one] -= (x[one] - 0.5) * 0.5; dy[one] -= (y[one] - 0.5) * 0.5;
      const length = Math.hypot(dx[one], dy[one]) || 1, step = Math.min(length, heat) / length;
      x[one] += dx[one] * step; y[one] += dy[one] * step;
    }
  }
  const part = (list) => {
    const low = Math.min(...list), high = Math.max(...list);
    return list.map((value) => high - low < 1e-6 ? 0.5 : (value - low) / (high - low));
  };
  const across = part(x), down = part(y);
  return new Map(names.map((name, index) => [name, [across[index], down[index]]]));
}

/** Neighbours after each other, so that a drawing begins with few lines that cross. */
function ordered(names, pairs) {
  const beside = new Map(names.map((name) => [name, []])), found = new Set();
  for (const [a, b] of pairs) { beside.get(a).push(b); beside.get(b).push(a); }
  const visit = (first) => {
    const waiting = [first];
    while (waiting.length) {
      const name = waiting.pop();
      if (!found.has(name)) { found.add(name); waiting.push(...beside.get(name)); }
    }
  };
  names.forEach(visit);
  return [...found];
}

const holder = document.getElementById("map"), source = document.getElementById("graph-data");
const graph = JSON.parse(source.textContent), mayDraw = source.dataset.draw === "yes";

const form = document.getElementById("allow"), said = document.getElementById("drawn");
const byName = new Map(graph.nodes.map((node) => [node.name, node]));
const small = graph.nodes.length > MANY;
// Who has no neighbours stands in rows below the others.
const joined = new Set(graph.edges.flatMap((edge) => edge.routers)), alone = graph.nodes.map((node) => node.name).filter((name) => !joined.has(name));
const pairs = graph.edges.map((edge) => edge.routers);
const places = layout(ordered([...byName.keys()].filter((name) => joined.has(name)), pairs), pairs), at = new Map();
let svg, radius;

/** Draws all of it in the size that there is, so that words can be read on a telephone too. */
function render() {
  const wide = Math.max(LEAST, holder.clientWidth), narrow = wide < NARROW;
  const upper = places.size ? Math.max(LEAST_HIGH, Math.min(wide * (narrow ? NARROW_SHAPE : SHAPE), innerHeight * 0.7)) : 0;
  const across = Math.max(1, Math.floor((wide - 2 * EDGE) / APART) + 1), high = upper + ROW * Math.ceil(alone.length / across) + (upper || !alone.length ? 0 : EDGE);
  radius = small ? SMALL : narrow ? LESS : RADIUS;
  for (const [name, [x, y]] of places) at.set(name, [EDGE + x * (wide - 2 * EDGE), EDGE + y * (upper - 2 * EDGE)]);
  for (const [number, name] of alone.entries()) at.set(name, [EDGE + number % across * APART, (upper || EDGE) + ROW * Math.floor(number / across)]);
  svg = draw("svg", { viewBox: `0 0 ${wide} ${high}`, role: "group", "aria-label": "The domain, drawn" });
  const lines = draw("g"), circles = draw("g");
  svg.append(lines, circles);

  const beside = new Map();
  for (const edge of graph.edges) {
    const key = [...edge.routers].sort().join(" "), number = beside.get(key) ?? 0;
    beside.set(key, number + 1);
    const [[x1, y1], [x2, y2]] = edge.routers.map((name) => at.get(name)), length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const bend = number === 0 ? 0 : (number % 2 ? 1 : -1) * Math.ceil(number / 2) * 44 * (edge.routers[0] < edge.routers[1] ? 1 : -1);
    const [cx, cy] = [(x1 + x2) / 2 - (y2 - y1) / length * bend, (y1 + y2) / 2 + (x2 - x1) / length * bend];
    const path = `M${x1},${y1} Q${cx},${cy} ${x2},${y2}`;
    const how = edge.state === "new" ? "new between" : edge.state === "removed" ? "removed down" : edge.keyed ? "full" : "between";
    const sign = edge.state === "new" ? "+ " : edge.state === "removed" ? "− " : "";
    const words = `${edge.a} and ${edge.b}: ${edge.modes[0]}${edge.modes[1] === edge.modes[0] ? "" : `, ${edge.modes[1]}`}${edge.keyed ? ", keyed" : ""}${edge.state === "same" ? "" : `, ${edge.state} in the draft`}`;
    const link = draw("a", { class: "edge", href: `/adjacencies?q=${encodeURIComponent(`${edge.a} ${edge.b}`)}`, "aria-label": words });
    link.append(draw("title", {}, words), draw("path", { class: "hit", d: path }), draw("path", { class: `way ${how}`, d: path }));
    if (!small) for (const [end, share] of [[0, 0.27], [1, 0.73]]) {
      const part = (a, c, b) => (1 - share) ** 2 * a + 2 * share * (1 - share) * c + share ** 2 * b;
      link.append(draw("text", { class: "glyph", x: part(x1, cx, x2), y: part(y1, cy, y2) }, graph.marks[edge.modes[end]] ?? "±"));
    }
    if (sign) link.append(draw("text", { class: "glyph", x: (x1 + 2 * cx + x2) / 4, y: (y1 + 2 * cy + y2) / 4 }, sign));
    lines.append(link);
  }

  for (const node of graph.nodes) {
    const [x, y] = at.get(node.name);
    const words = [node.name, node.approved ? "" : "not approved", node.state === "same" ? "" : `${node.state} in the draft`, node.inForce ? "" : "has not confirmed what is committed"].filter(Boolean).join(", ");
    const link = draw("a", { class: `router ${node.state}${node.approved ? "" : " unapproved"}`, href: `/routers/${encodeURIComponent(node.name)}`, "aria-label": words });
    const sign = !node.approved ? "?" : node.state === "new" ? "+" : node.state === "removed" ? "−" : node.inForce ? "" : "…";
    link.append(draw("title", {}, words), draw("circle", { cx: x, cy: y, r: radius }), draw("text", { class: "mark sign", x, y }, sign), draw("text", { class: "name", x, y: y + radius + 4 }, node.name));
    link.dataset.name = node.name;
    circles.append(link);
  }
  holder.replaceChildren(svg);
  if (mayDraw && form) drawing();
}

// -- drawing an adjacency

/** Interfaces of the two that are in one subnet, or both without IPv4, and no neighbours yet. */
function fitting(one, other) {
  const known = new Set(graph.edges.filter((edge) => edge.state !== "removed").flatMap((edge) => [`${edge.a} ${edge.b}`, `${edge.b} ${edge.a}`]));
  const found = [];
  for (const [mine, net] of byName.get(one).interfaces) for (const [theirs, subnet] of byName.get(other).interfaces) {
    const pair = [`${one}:${mine}`, `${other}:${theirs}`];
    if (net === subnet && !known.has(pair.join(" "))) found.push(pair);
  }
  return found;
}

function propose(one, other) {
  const found = fitting(one, other);
  if (!found.length) { said.textContent = `${one} and ${other} have no interfaces of one link that are not neighbours yet.`; return; }
  const [[a, b]] = found;
  form.elements.a.value = a;
  form.elements.b.value = b;
  said.textContent = `${a} and ${b} fit each other${found.length > 1 ? `, and ${found.length - 1} more pairs` : ""}. Press "Allow the adjacency".`;
  form.querySelector("button").focus();
}

/** Lets routers of the present drawing be joined with a pointer. */
function drawing() {
  let from = null, rubber = null;
  const over = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest?.(".router");
  const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("pointerdown", (event) => {
    from = event.button === 0 ? event.target.closest?.(".router") : null;
  });
  svg.addEventListener("pointermove", (event) => {
    if (!from) return;
    const { x, y } = point(event), [x1, y1] = at.get(from.dataset.name);
    if (!rubber) {
      if (Math.hypot(x - x1, y - y1) < radius * 1.5) return;
      rubber = draw("line", { class: "rubber", x1, y1 });
      svg.setPointerCapture(event.pointerId);
      svg.append(rubber);
    }
    rubber.setAttribute("x2", x);
    rubber.setAttribute("y2", y);
    for (const each of svg.querySelectorAll(".target")) each.classList.remove("target");
    const there = over(event);
    if (there && there !== from) there.classList.add("target");
  });
  const end = (event, done) => {
    for (const each of svg.querySelectorAll(".target")) each.classList.remove("target");
    if (rubber) {
      rubber.remove();
      const there = over(event);
      if (done && there && there !== from) propose(from.dataset.name, there.dataset.name);
      // The press that ends a drawing opens no link.
      const swallow = (click) => { click.preventDefault(); click.stopPropagation(); };
      addEventListener("click", swallow, true);
      setTimeout(() => removeEventListener("click", swallow, true), 0);
    }
    from = rubber = null;
  };
  svg.addEventListener("pointerup", (event) => end(event, true));
  svg.addEventListener("pointercancel", (event) => end(event, false));
}

let drawnFor = 0;
new ResizeObserver(() => {
  if (holder.clientWidth === drawnFor || svg?.contains(document.activeElement)) return;
  drawnFor = holder.clientWidth;
  render();
}).observe(holder);
