// The explorer: AUC against ImageNet top-1 or size, with Spearman's rho recomputed for the models in view.
// An ES module with anywidget's default export, plain SVG, no dependency. The statistics at the top are those of
// chexlib.stats; a test runs both on the same states.

export const FEWEST = 4; // models below which no rank correlation is shown

// ---- statistics -------------------------------------------------------------------------------------------------------------

// Mid-ranks, 1 to n, of an array.
export function ranks(values) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const out = new Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1]] === values[order[start]]) end++;
    for (let i = start; i <= end; i++) out[order[i]] = (start + end) / 2 + 1;
    start = end + 1;
  }
  return out;
}

// Spearman's rho, NaN where either side is constant or holds a NaN.
export function spearman(x, y) {
  if (x.some(Number.isNaN) || y.some(Number.isNaN)) return NaN;
  const middle = (x.length + 1) / 2;
  const a = ranks(x).map((r) => r - middle);
  const b = ranks(y).map((r) => r - middle);
  const dot = (u, v) => u.reduce((sum, value, i) => sum + value * v[i], 0);
  const scale = Math.sqrt(dot(a, a) * dot(b, b));
  return scale > 0 ? dot(a, b) / scale : NaN;
}

// Linear-interpolation percentile (numpy's default) of what is not NaN.
export function percentile(values, percent) {
  const sorted = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
  if (!sorted.length) return NaN;
  const at = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(at);
  return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// Stored replicates: K measures x R draws x M models, as 16-bit steps of [-0.5, 1.5]; 65535 is NaN.
export function decode({ shape, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [K, R, M] = shape;
  const at = (k, r, m) => {
    const code = view.getUint16(2 * ((k * R + r) * M + m), true);
    return code === 65535 ? NaN : (2 * code) / 65534 - 0.5;
  };
  return { K, R, column: (k, m) => Array.from({ length: R }, (_, r) => at(k, r, m)) };
}

const minus = (a, b) => a.map((value, i) => value - b[i]);
const number = (value) => value ?? NaN;

// The models in view under a choice, each with its place, its interval and its replicates.
export function visible(state, replicates, choice) {
  const k = choice.measure;
  const chosen = state.models.map((model, m) => ({ ...model, m })).filter((model) =>
    (choice.models === "all" || model.minus === 0) && (choice.models !== "paper" || model.in_paper) &&
    (choice.init === "both" || model.init === (choice.init === "boost" ? "imagenet" : choice.init)) &&
    (choice.init !== "boost" || model.pair !== null));
  return chosen.map((model) => {
    let [y, low, high] = [number(model.auc[k]), number(model.low[k]), number(model.high[k])];
    let draws = replicates.column(k, model.m);
    if (choice.init === "boost") {
      y -= number(state.models[model.pair].auc[k]);
      draws = minus(draws, replicates.column(k, model.pair));
      [low, high] = [percentile(draws, 2.5), percentile(draws, 97.5)];
    }
    return { ...model, x: number(model[choice.x]), y, low, high, draws };
  }).filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
}

// Spearman's rho over points, with the percentile interval of its replicates.
export function correlation(points) {
  const x = points.map((point) => point.x);
  const none = { rho: NaN, low: NaN, high: NaN, n: points.length };
  if (points.length < FEWEST) return none;
  const rho = spearman(x, points.map((point) => point.y));
  const drawn = points[0].draws.map((_, r) => spearman(x, points.map((point) => point.draws[r])));
  return { rho, low: percentile(drawn, 2.5), high: percentile(drawn, 97.5), n: points.length };
}

// One correlation for each initialisation in view.
export function summary(state, replicates, choice) {
  const points = visible(state, replicates, choice);
  const groups = choice.init === "both" ? ["random", "imagenet"] : [choice.init];
  return groups.map((group) => ({
    group, ...correlation(choice.init === "both" ? points.filter((point) => point.init === group) : points),
  }));
}

// ---- words ------------------------------------------------------------------------------------------------------------------

const INITS = { random: "random weights", imagenet: "ImageNet weights", both: "both", boost: "boost (ImageNet − random)" };
const SETS = { paper: "the paper’s architectures", whole: "all, untruncated", all: "all, with truncated" };
const AXES = { top1: "ImageNet top-1", parameters: "parameters" };
const signed = (value, digits = 3) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
const between = (low, high, digits = 3) => (Number.isFinite(low) ? ` (${signed(low, digits)} to ${signed(high, digits)})` : "");
const millions = (count) => `${Number((count / 1e6).toPrecision(3))} M`;

function describe(point, choice) {
  const facts = [`${millions(point.parameters)} parameters`];
  if (point.top1 !== null) facts.push(`ImageNet top-1 ${point.top1.toFixed(1)} %`);
  if (point.seeds > 1) facts.push(`mean of ${point.seeds} seeds`);
  const what = choice.init === "boost" ? "boost" : "AUC";
  const init = choice.init === "boost" ? "" : `, ${INITS[point.init]}`;
  return `${point.name}${init}: ${what} ${signed(point.y)}${between(point.low, point.high)}; ${facts.join("; ")}.`;
}

function report(row, choice, over) {
  const who = choice.init === "both" ? `${INITS[row.group]}: ` : "";
  if (!row.n) return `${who}no such model in this study`;
  if (row.n < FEWEST) return `${who}${row.n} model${row.n > 1 ? "s" : ""}, too few for a rank correlation`;
  if (!Number.isFinite(row.rho)) return `${who}no rank correlation (all equal)`;
  const interval = Number.isFinite(row.low) ? `, 95 % interval over ${over} ${signed(row.low, 2)} to ${signed(row.high, 2)}` : "";
  return `${who}Spearman’s ρ = ${signed(row.rho, 2)}${interval}, ${row.n} models`;
}

// ---- drawing ----------------------------------------------------------------------------------------------------------------

function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const MARKERS = { // outlines on a 12 px square around (0, 0), by matplotlib's letter
  o: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z", s: "M-4.5,-4.5h9v9h-9z", "^": "M0,-6L5.5,4.5h-11z", v: "M0,6L5.5,-4.5h-11z",
  D: "M0,-6L6,0L0,6L-6,0z", P: "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", X: "M-3,-6L0,-3L3,-6L6,-3L3,0L6,3L3,6L0,3L-3,6L-6,3L-3,0L-6,-3z",
  "*": "M0,-7L1.7,-2.3L6.7,-2.2L2.7,0.9L4.1,5.7L0,2.9L-4.1,5.7L-2.7,0.9L-6.7,-2.2L-1.7,-2.3z", h: "M0,-6L5.2,-3v6L0,6L-5.2,3v-6z",
};

function marker(family, hollow) {
  const path = svg("path", { d: MARKERS[family.marker] ?? MARKERS.h, class: hollow ? "mark hollow" : "mark" });
  path.style.setProperty("--family", family.colour === "#000000" ? "currentColor" : family.colour);
  return path;
}

function ticksBetween(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
  const out = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) out.push(tick);
  return { ticks: out, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function logTicks(low, high, count) {
  const within = (steps) => {
    const all = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) all.push(...steps.map((step) => step * power));
    return all.filter((tick) => tick >= low && tick <= high);
  };
  const fine = within([1, 2, 5]);
  return fine.length <= count ? fine : within([1]).length > 1 ? within([1]) : fine.filter((_, i) => i % 2 === 0);
}

function scale(from, to, log = false) {
  const f = log ? Math.log10 : (v) => v;
  return (value) => to[0] + ((f(value) - f(from[0])) / (f(from[1]) - f(from[0]))) * (to[1] - to[0]);
}

function extent(values, pad, log = false) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - pad || -1, high + pad || 1];
  return log ? [low * (low / high) ** 0.06, high * (high / low) ** 0.06] : [low - pad * (high - low), high + pad * (high - low)];
}

function axes(points, state, choice, width, height) {
  const box = { left: 52, right: width - 12, top: 28, bottom: height - 42 };
  const log = choice.x === "parameters";
  const xs = extent(points.map((p) => p.x), 0.06, log);
  const ends = points.flatMap((p) => (Number.isFinite(p.low) ? [p.low, p.high] : [p.y]));
  const ys = extent(choice.init === "boost" ? [...ends, 0] : ends, 0.04);
  const x = scale(xs, [box.left, box.right], log);
  const y = scale(ys, [box.bottom, box.top]);
  const layer = svg("g", { class: "axes", "aria-hidden": "true" });
  const { ticks, digits } = ticksBetween(...ys, height < 300 ? 4 : 6);
  for (const tick of ticks) {
    layer.append(svg("line", { x1: box.left, x2: box.right, y1: y(tick), y2: y(tick), class: Math.abs(tick) < 1e-12 ? "zero" : "grid" }),
      svg("text", { x: box.left - 7, y: y(tick) + 4, "text-anchor": "end" }, signed(tick, digits)));
  }
  const room = Math.floor((box.right - box.left) / 55);
  for (const tick of log ? logTicks(...xs, room) : ticksBetween(...xs, Math.min(8, room)).ticks) {
    layer.append(svg("line", { x1: x(tick), x2: x(tick), y1: box.bottom, y2: box.bottom + 5, class: "tick" }),
      svg("text", { x: x(tick), y: box.bottom + 18, "text-anchor": "middle" }, log ? millions(tick) : `${tick.toFixed(0)} %`));
  }
  const what = choice.init === "boost" ? "Boost in AUC" : "AUC";
  layer.append(svg("text", { x: 4, y: 14 }, `${what} (${state.measures[choice.measure]})`));
  layer.append(svg("text", { x: (box.left + box.right) / 2, y: height - 5, "text-anchor": "middle" },
    log ? "Parameters (log scale)" : "ImageNet top-1 accuracy"));
  return { layer, x, y };
}

function plot(points, state, choice, width, describeAt) {
  const height = Math.round(Math.min(440, Math.max(260, width * 0.62)));
  const title = `${choice.init === "boost" ? "Boost in AUC" : "AUC"} against ${AXES[choice.x]}, ${points.length} models`;
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "listbox", "aria-label": `${title}; arrow keys move between them` });
  if (!points.length) {
    root.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No model of this study fits the choice"));
    return root;
  }
  const { layer, x, y } = axes(points, state, choice, width, height);
  root.append(layer);
  const marks = [...points].sort((a, b) => a.x - b.x).map((point, i) => {
    const family = state.families.find((f) => f.name === point.family);
    const dim = choice.family && choice.family !== point.family;
    const node = svg("g", { class: dim ? "point dim" : "point", role: "option", "aria-selected": "false", tabindex: i ? -1 : 0,
      "aria-label": describe(point, choice), transform: `translate(${x(point.x).toFixed(1)},${y(point.y).toFixed(1)})` });
    if (Number.isFinite(point.low)) {
      node.append(svg("line", { class: "whisker", y1: y(point.low) - y(point.y), y2: y(point.high) - y(point.y) }));
    }
    node.append(svg("circle", { r: 12, class: "target" }), marker(family, choice.init === "both" && point.init === "random"));
    for (const event of ["focus", "pointerenter"]) node.addEventListener(event, () => describeAt(point, node));
    return node;
  });
  root.append(...marks);
  root.addEventListener("keydown", (event) => walk(event, marks));
  return root;
}

function walk(event, marks) {
  const at = marks.indexOf(event.target.closest(".point"));
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: marks.length - 1 }[event.key];
  if (to === undefined || at < 0) return;
  event.preventDefault();
  const next = marks[Math.min(marks.length - 1, Math.max(0, to))];
  for (const mark of marks) mark.setAttribute("tabindex", mark === next ? 0 : -1);
  next.focus();
}

function table(points, choice) {
  const heads = ["Model", "Weights", choice.init === "boost" ? "Boost" : "AUC", "95 % interval", "Parameters", "Top-1"];
  const body = [...points].sort((a, b) => b.y - a.y).map((p) => html("tr", {}, html("th", { scope: "row" }, p.name), ...[
    choice.init === "boost" ? "both" : p.init, signed(p.y), Number.isFinite(p.low) ? `${signed(p.low)} to ${signed(p.high)}` : "–",
    millions(p.parameters), p.top1 === null ? "–" : `${p.top1.toFixed(1)} %`].map((cell) => html("td", {}, cell))));
  return html("table", {}, html("thead", {}, html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head)))), html("tbody", {}, ...body));
}

// ---- the widget -------------------------------------------------------------------------------------------------------------

function radios(model, name, label, options, id) {
  const group = html("fieldset", {}, html("legend", {}, label));
  for (const [value, text] of Object.entries(options)) {
    const input = html("input", { type: "radio", name: `${id}-${name}`, value });
    input.addEventListener("change", () => { model.set(name, value); model.save_changes(); });
    group.append(html("label", {}, input, ` ${text}`));
  }
  return { node: group, show: (value) => { for (const input of group.querySelectorAll("input")) input.checked = input.value === value; } };
}

function menu(model, name, label, options, cast) {
  const select = html("select", {}, ...options.map(([value, text]) => html("option", { value }, text)));
  select.addEventListener("change", () => { model.set(name, cast(select.value)); model.save_changes(); });
  return { node: html("label", { class: "menu" }, html("span", {}, label), select), show: (value) => { select.value = String(value); } };
}

function legend(model, state, points, choice) {
  const present = state.families.filter((family) => points.some((point) => point.family === family.name));
  return present.map((family) => {
    const button = html("button", { type: "button", "aria-pressed": String(choice.family === family.name) },
      svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, marker(family, false)), ` ${family.name}`);
    button.addEventListener("click", () => {
      model.set("family", model.get("family") === family.name ? "" : family.name);
      model.save_changes();
    });
    return button;
  });
}

const CHOICES = ["x", "measure", "init", "models", "family"];
let count = 0;

function render({ model, el }) {
  const state = model.get("state");
  const replicates = decode(state.replicates);
  const id = `chexlib-explorer-${count++}`;
  const controls = {
    x: radios(model, "x", "Against", AXES, id),
    init: radios(model, "init", "Start from", { random: "random", imagenet: "ImageNet", both: "both", boost: "boost" }, id),
    measure: menu(model, "measure", "AUC of", state.measures.map((text, k) => [k, text]), Number),
    models: menu(model, "models", "Models", Object.entries(SETS), String),
  };
  const keys = html("div", { class: "keys", role: "group", "aria-label": "Highlight a family" });
  const rho = html("p", { class: "rho", role: "status", "aria-live": "polite" });
  const stage = html("div", { class: "stage" });
  const detail = html("p", { class: "detail", "aria-live": "polite" });
  const rows = html("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Table of the models in view" });
  el.append(html("div", { class: "chexlib-explorer" },
    html("div", { class: "controls" }, ...Object.values(controls).map((control) => control.node)), rho, stage, keys, detail,
    html("details", {}, html("summary", {}, "The same as a table"), rows), html("p", { class: "source" }, state.caption)));

  const point = (chosen, node, choice) => {
    for (const other of stage.querySelectorAll("[aria-selected=true]")) other.setAttribute("aria-selected", "false");
    node.setAttribute("aria-selected", "true");
    detail.textContent = describe(chosen, choice);
  };
  const draw = () => {
    const choice = Object.fromEntries(CHOICES.map((name) => [name, model.get(name)]));
    const points = visible(state, replicates, choice);
    const hint = choice.init === "both" ? "Filled: ImageNet weights, hollow: random. " : "";
    for (const [name, control] of Object.entries(controls)) control.show(choice[name]);
    rho.replaceChildren(...summary(state, replicates, choice).map((row) => html("span", {}, report(row, choice, state.over))));
    stage.replaceChildren(plot(points, state, choice, Math.max(260, stage.clientWidth || 640), (p, node) => point(p, node, choice)));
    keys.replaceChildren(...legend(model, state, points, choice));
    detail.textContent = `${hint}Point at a model, or tab to the plot and use the arrow keys.`;
    rows.replaceChildren(table(points, choice));
  };
  const redraw = (name) => {
    const pressed = keys.contains(document.activeElement) ? document.activeElement.textContent : null;
    draw();
    if (name === "family" && pressed) [...keys.children].find((button) => button.textContent === pressed)?.focus();
  };
  const listeners = CHOICES.map((name) => [`change:${name}`, () => redraw(name)]);
  for (const [event, callback] of listeners) model.on(event, callback);
  let width = 0;
  const observer = new ResizeObserver(() => { if (stage.clientWidth !== width) { width = stage.clientWidth; draw(); } });
  observer.observe(stage);
  draw();
  return () => { observer.disconnect(); for (const [event, callback] of listeners) model.off(event, callback); };
}

export default { render };
