// The explorer: AUC against ImageNet top-1 or size, with Spearman's rho recomputed for the models in view.
// An ES module with anywidget's default export, plain SVG, no dependency. The statistics at the top are those of
// chexlib.stats; a test runs both on the same states.

// ---- statistics -------------------------------------------------------------------------------------------------------------

// Midranks less their mean, each value counted `times` times: half the number of values below less half the number above.
function centredRanks(values, times) {
  return values.map((value) => values.reduce((sum, other, j) => sum + Math.sign(value - other) * times[j], 0) / 2);
}

// Spearman's rho of pairs that count `times` times; NaN where either side is constant or holds a NaN.
export function spearman(x, y, times = x.map(() => 1)) {
  const [a, b] = [centredRanks(x, times), centredRanks(y, times)];
  const dot = (u, v) => u.reduce((sum, value, i) => sum + times[i] * value * v[i], 0);
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

// What is stored of R draws: AUCs of K measures x R x P models as 32-bit numbers, and how often each of n families is drawn,
// R x n bytes.
export function decode({ replicates, drawn }) {
  const bytes = (data) => Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const [, R, P] = replicates.shape;
  const view = new DataView(bytes(replicates.data).buffer);
  const counts = Object.fromEntries(Object.entries(drawn).map(([n, data]) => [n, bytes(data)]));
  return {
    R, auc: (k, r, p) => view.getFloat32(4 * ((k * R + r) * P + p), true), times: (n, r, family) => counts[n][r * n + family],
  };
}

const number = (value) => value ?? NaN;
const IN_SET = { paper: (model) => model.in_paper, whole: (model) => model.minus === 0, all: () => true };

// The models in view under a choice, each with its place and its interval.
export function visible(state, choice) {
  const boost = choice.init === "boost";
  const chosen = state.models.filter((model) => IN_SET[choice.models](model) && !choice.without.includes(model.family) &&
    (boost ? model.boost : choice.init === "all" || model.init === choice.init));
  return chosen.map((model) => {
    const [y, low, high] = (boost ? model.boost : model.auc)[choice.measure].map(number);
    return { ...model, x: number(model[choice.x]), y, low, high };
  }).filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
}

// Spearman's rho over the paper's whole architectures among the points. Each replicate takes its own AUCs and draws whole
// families; the interval is that of its percentiles. No rho of too few, or where positives or negatives are.
export function correlation(state, stored, points, choice) {
  const ranked = points.filter((point) => point.in_paper);
  const names = [...new Set(ranked.map((point) => point.family))].sort();
  const found = { rho: NaN, low: NaN, high: NaN, models: ranked.length, families: names.length };
  const { least, measures } = state;
  if (found.models < least.models || found.families < least.families || measures[choice.measure].few) return found;
  const x = ranked.map((point) => point.x);
  const family = ranked.map((point) => names.indexOf(point.family));
  const auc = (r, p) => stored.auc(choice.measure, r, p);
  const rhos = Array.from({ length: stored.R }, (_, r) => spearman(
    x, ranked.map(({ draws, pair }) => auc(r, draws) - (choice.init === "boost" ? auc(r, pair) : 0)),
    family.map((place) => stored.times(names.length, r, place))));
  return { ...found, rho: spearman(x, ranked.map((point) => point.y)), low: percentile(rhos, 2.5), high: percentile(rhos, 97.5) };
}

const initsOf = ({ options }) => options.init.filter((init) => !["all", "boost"].includes(init));

// One correlation for each initialisation in view.
export function summary(state, stored, choice) {
  const points = visible(state, choice);
  const groups = choice.init === "all" ? initsOf(state) : [choice.init];
  return groups.map((group) => ({
    group, ...correlation(state, stored, choice.init === "all" ? points.filter((point) => point.init === group) : points, choice),
  }));
}

// Whether a choice with this change would show no model.
const empty = (state, choice, change) => !visible(state, { ...choice, ...change }).length;

// ---- words ------------------------------------------------------------------------------------------------------------------

const INITS = { random: "random", imagenet: "ImageNet", boost: "boost" };
const weights = (init) => `${INITS[init] ?? init} weights`;
const SETS = { paper: "the paper’s architectures", whole: "all, untruncated", all: "all, with truncated" };
const OUTSIDE = "not in ρ, which is over the paper’s whole architectures";
const AXES = { top1: "ImageNet top-1", parameters: "parameters" };
const signed = (value, digits = 3) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
const between = (low, high, digits = 3) => (Number.isFinite(low) ? ` (${signed(low, digits)} to ${signed(high, digits)})` : "");
const millions = (count) => `${Number((count / 1e6).toPrecision(3))} M`;

function describe(point, choice) {
  const facts = [`${millions(point.parameters)} parameters`];
  if (point.top1 !== null) facts.push(`ImageNet top-1 ${point.top1.toFixed(1)} %`);
  if (point.seeds > 1) facts.push(`mean of ${point.seeds} seeds`);
  const what = choice.init === "boost" ? "boost" : "AUC";
  const init = choice.init === "boost" ? "" : `, ${weights(point.init)}`;
  if (!point.in_paper) facts.push(OUTSIDE);
  return `${point.name}${init}: ${what} ${signed(point.y)}${between(point.low, point.high)}; ${facts.join("; ")}.`;
}

// A line for each correlation; where there is none at all, one line that says why, of the init with the most models.
function reports(state, choice, rows) {
  if (rows.some((row) => Number.isFinite(row.rho))) {
    return rows.map((row) => (rows.length > 1 ? `${weights(row.group)}: ` : "") + report(state, choice, row));
  }
  return [report(state, choice, rows.reduce((most, row) => (row.models > most.models ? row : most)))];
}

function report(state, choice, { rho, low, high, models, families }) {
  const { least, over, measures } = state;
  const of = `${families} ${families === 1 ? "family" : "families"}`;
  if (Number.isFinite(rho)) {
    return `Spearman’s ρ = ${signed(rho, 2)}, 95 % interval ${signed(low, 2)} to ${signed(high, 2)} over ${over}, ${models} architectures of ${of}`;
  }
  return `no rank correlation: ${whyNot({ models, families, of }, least, measures[choice.measure].few)}`;
}

function whyNot({ models, families, of }, least, few) {
  if (!models) return "none of the paper’s architectures is in view";
  if (models < least.models || families < least.families) {
    return `${models} of the paper’s architectures ${models === 1 ? "is" : "are"} in view, of ${of}; it takes ${least.models} of ${least.families} families`;
  }
  return few || "all are equal";
}

// ---- drawing ----------------------------------------------------------------------------------------------------------------

const MARKERS = { // outlines on a 12 px square around (0, 0), by matplotlib's letter
  o: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z", s: "M-4.5,-4.5h9v9h-9z", "^": "M0,-6L5.5,4.5h-11z", v: "M0,6L5.5,-4.5h-11z",
  D: "M0,-6L6,0L0,6L-6,0z", P: "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", X: "M-3,-6L0,-3L3,-6L6,-3L3,0L6,3L3,6L0,3L-3,6L-6,3L-3,0L-6,-3z",
  "*": "M0,-7L1.7,-2.3L6.7,-2.2L2.7,0.9L4.1,5.7L0,2.9L-4.1,5.7L-2.7,0.9L-6.7,-2.2L-1.7,-2.3z", h: "M0,-6L5.2,-3v6L0,6L-5.2,3v-6z",
};

function marker(family, kind = "") {
  const path = svg("path", { d: MARKERS[family.marker] ?? MARKERS.h, class: `mark ${kind}` });
  path.style.setProperty("--family", family.colour === "#000000" ? "currentColor" : family.colour);
  return path;
}

const ringed = (point, choice) => choice.init === "all" && point.init !== "random";

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
  layer.append(svg("text", { x: 4, y: 14 }, `${what} (${state.measures[choice.measure].name})`));
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
    const node = svg("g", { class: "point", role: "option", "aria-selected": "false", tabindex: i ? -1 : 0,
      "aria-label": describe(point, choice), transform: `translate(${x(point.x).toFixed(1)},${y(point.y).toFixed(1)})` });
    if (Number.isFinite(point.low)) {
      node.append(svg("line", { class: "whisker", y1: y(point.low) - y(point.y), y2: y(point.high) - y(point.y) }));
    }
    node.append(svg("circle", { r: 12, class: "target" }), marker(family, point.in_paper ? "" : "hollow"));
    if (ringed(point, choice)) node.append(svg("circle", { r: 9, class: "ring" }));
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
  const heads = ["Model", "Weights", choice.init === "boost" ? "Boost" : "AUC", "95 % interval", "Parameters", "Top-1", "In ρ"];
  const body = [...points].sort((a, b) => b.y - a.y).map((p) => html("tr", {}, html("th", { scope: "row" }, p.name), ...[
    choice.init === "boost" ? "both" : p.init, signed(p.y), Number.isFinite(p.low) ? `${signed(p.low)} to ${signed(p.high)}` : "–",
    millions(p.parameters), p.top1 === null ? "–" : `${p.top1.toFixed(1)} %`, p.in_paper ? "yes" : "no"].map((cell) => html("td", {}, cell))));
  return html("table", {}, html("thead", {}, html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head)))), html("tbody", {}, ...body));
}

// ---- the widget -------------------------------------------------------------------------------------------------------------

// A control of one choice gives its node and `show(value, isEmpty)`, which marks what is chosen and what would show nothing.
function radios(model, name, label, options, id) {
  const inputs = options.map(([value]) => html("input", { type: "radio", name: `${id}-${name}`, value }));
  for (const input of inputs) input.addEventListener("change", () => { model.set(name, input.value); model.save_changes(); });
  const labels = inputs.map((input, i) => html("label", {}, input, ` ${options[i][1]}`));
  const show = (value, isEmpty) => {
    for (const input of inputs) [input.checked, input.disabled] = [input.value === value, isEmpty(input.value)];
  };
  return { node: html("fieldset", {}, html("legend", {}, label), ...labels), show };
}

function menu(model, name, label, options, cast) {
  const items = options.map(([value, text]) => html("option", { value }, text));
  const select = html("select", {}, ...items);
  select.addEventListener("change", () => { model.set(name, cast(select.value)); model.save_changes(); });
  const show = (value, isEmpty) => {
    select.value = String(value);
    for (const item of items) item.disabled = isEmpty(cast(item.value));
  };
  return { node: html("label", { class: "menu" }, html("span", {}, label), select), show };
}

// Buttons that take families out of view and back; aria-disabled, not disabled, so that the keyboard keeps its place.
function keys(model, state) {
  const without = (name) => {
    const left = model.get("without");
    return left.includes(name) ? left.filter((other) => other !== name) : [...left, name];
  };
  const buttons = state.families.map((family) => {
    const button = html("button", { type: "button", value: family.name },
      svg("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, marker(family)), ` ${family.name}`);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      model.set("without", without(family.name));
      model.save_changes();
    });
    return button;
  });
  const show = (choice) => {
    for (const button of buttons) {
      const others = state.families.map((family) => family.name).filter((name) => name !== button.value);
      const useless = empty(state, choice, { without: others }) || empty(state, choice, { without: without(button.value) });
      button.setAttribute("aria-pressed", String(!choice.without.includes(button.value)));
      button.setAttribute("aria-disabled", String(useless));
    }
  };
  return { node: html("div", { class: "keys", role: "group", "aria-label": "Families in view" }, ...buttons), show };
}

function hint(points, choice) {
  const said = points.some((point) => !point.in_paper) ? [`Hollow: ${OUTSIDE}.`] : [];
  if (points.some((point) => ringed(point, choice))) said.push("Ringed: not from random weights.");
  return [...said, "Point at a model, or tab to the plot and use the arrow keys."].join(" ");
}

// The controls of what this study has more than one of.
function controlsOf(model, state, id) {
  const { options, measures } = state;
  const together = initsOf(state).length === 2 ? "both" : "all";
  const inits = options.init.map((init) => [init, { ...INITS, all: together }[init] ?? init]);
  const all = {
    x: radios(model, "x", "Against", options.x.map((axis) => [axis, AXES[axis]]), id),
    init: radios(model, "init", "Start from", inits, id),
    measure: menu(model, "measure", "AUC of", options.measure.map((k) => [k, measures[k].name]), Number),
    models: menu(model, "models", "Models", options.models.map((set) => [set, SETS[set]]), String),
  };
  return Object.entries(all).filter(([name]) => options[name].length > 1);
}

const CHOICES = ["x", "measure", "init", "models", "without"];
let widgets = 0;

function render({ model, el }) {
  const state = model.get("state");
  const stored = decode(state);
  const controls = controlsOf(model, state, `chexlib-explorer-${widgets++}`);
  const families = keys(model, state);
  const rho = html("p", { class: "rho", role: "status", "aria-live": "polite" });
  const stage = html("div", { class: "stage" });
  const detail = html("p", { class: "detail", "aria-live": "polite" });
  const rows = html("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Table of the models in view" });
  el.append(html("div", { class: "chexlib-explorer" },
    html("div", { class: "controls" }, ...controls.map(([, control]) => control.node)), rho, stage,
    ...(state.families.length > 1 ? [families.node] : []), detail,
    html("details", {}, html("summary", {}, "The same as a table"), rows), html("p", { class: "source" }, state.caption)));

  const point = (chosen, node, choice) => {
    for (const other of stage.querySelectorAll("[aria-selected=true]")) other.setAttribute("aria-selected", "false");
    node.setAttribute("aria-selected", "true");
    detail.textContent = describe(chosen, choice);
  };
  const chosen = () => Object.fromEntries(CHOICES.map((name) => [name, model.get(name)]));
  const picture = (choice, points) => {
    stage.replaceChildren(plot(points, state, choice, Math.max(260, stage.clientWidth || 640), (p, node) => point(p, node, choice)));
    detail.textContent = hint(points, choice);
  };
  const draw = () => {
    const choice = chosen();
    const points = visible(state, choice);
    for (const [name, control] of controls) control.show(choice[name], (value) => points.length > 0 && empty(state, choice, { [name]: value }));
    families.show(choice);
    rho.replaceChildren(...reports(state, choice, summary(state, stored, choice)).map((line) => html("span", {}, line)));
    picture(choice, points);
    rows.replaceChildren(table(points, choice));
  };
  for (const name of CHOICES) model.on(`change:${name}`, draw);
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (stage.clientWidth === width) return;
    width = stage.clientWidth;
    picture(chosen(), visible(state, chosen()));
  });
  observer.observe(stage);
  draw();
  return () => { observer.disconnect(); for (const name of CHOICES) model.off(`change:${name}`, draw); };
}

export default { render };
