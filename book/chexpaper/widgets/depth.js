// The depth slider: learning curves, and what is left of each stage, by how many stages begin with pretrained weights.
// An ES module with anywidget's default export, plain SVG, no dependency. All others stay in view, faint.

// What stands below the slider: the AUC that is reached, and the stages that stay most and least like their start.
export function describe(state, place) {
  const { name, images, auc, kept } = state.depths[place];
  const found = [`${name}: validation AUC ${auc.at(-1).toFixed(3)} after ${images.at(-1).toLocaleString("en")} images`];
  const compared = state.stages.map((stage, i) => [kept[i], stage]).filter(([value]) => value !== null);
  if (compared.length) {
    const [least, most] = [compared.reduce((a, b) => (b[0] < a[0] ? b : a)), compared.reduce((a, b) => (b[0] > a[0] ? b : a))];
    found.push(`${most[1]} stays most like its start (${most[0].toFixed(2)}), ${least[1]} least (${least[0].toFixed(2)})`);
  }
  return `${found.join("; ")}.`;
}

// One panel: a line for each depth, the chosen one bold; lines are lists of [x, y], ticks are [value, text].
function panel(title, lines, chosen, { xs, ys, xticks, yticks, xlabel }, width) {
  const box = { left: 44, right: width - 10, top: 26, bottom: 208 };
  const at = ([low, high], [from, to]) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);
  const [x, y] = [at(xs, [box.left, box.right]), at(ys, [box.bottom, box.top])];
  const node = svg("svg", { width, height: 250, "aria-hidden": "true" }, svg("text", { x: box.left, y: 14, class: "title" }, title));
  for (const [value, text] of yticks) {
    node.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
      svg("text", { x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of xticks) node.append(svg("text", { x: x(value), y: box.bottom + 18, "text-anchor": "middle" }, text));
  node.append(svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, xlabel));
  const order = [...lines.keys()].filter((i) => i !== chosen).concat(chosen); // the chosen one on top
  for (const i of order) {
    const points = lines[i].filter(([, value]) => value !== null).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`);
    if (points.length) node.append(svg("polyline", { points: points.join(" "), class: i === chosen ? "line chosen" : "line" }));
  }
  return node;
}

function learning(state, chosen, width) {
  const lines = state.depths.map(({ images, auc }) => [[0, 0.5], ...images.map((n, i) => [n, auc[i]])]);
  const all = lines.flat();
  const [most, low, high] = [Math.max(...all.map(([n]) => n)), Math.min(...all.map(([, v]) => v)), Math.max(...all.map(([, v]) => v))];
  return panel("Validation AUC over training", lines, chosen, {
    xs: [0, most], ys: [low, high], xlabel: "training images seen",
    xticks: ticksBetween(0, most, 3).ticks.map((n) => [n, n.toLocaleString("en")]), yticks: ticksBetween(low, high, 4).ticks.map((v) => [v, v.toFixed(2)]),
  }, width);
}

function keeping(state, chosen, width) {
  const lines = state.depths.map(({ kept }) => kept.map((value, i) => [i, value]));
  return panel("Start and end alike (CKA)", lines, chosen, {
    xs: [0, state.stages.length - 1], ys: [0, 1], xlabel: "stage", yticks: [0, 0.5, 1].map((v) => [v, String(v)]),
    xticks: state.stages.map((stage, i) => [i, stage.replace("block", "")]),
  }, width);
}

function render({ model, el }) {
  const state = model.get("state");
  const slider = html("input", { type: "range", min: 0, max: state.depths.length - 1, step: 1, "aria-label": "Depth of pretrained weights" });
  const words = html("p", { class: "words", role: "status", "aria-live": "polite" });
  const stage = html("div", { class: "stage" });
  el.append(html("div", { class: "chexlib-depth" },
    html("label", {}, html("span", {}, "random"), slider, html("span", {}, "ImageNet")), words, stage,
    html("p", { class: "source" }, state.caption)));
  const draw = () => {
    const place = model.get("depth");
    const wide = stage.clientWidth || 640;
    const width = wide > 560 ? Math.floor(wide / 2) : wide;
    slider.value = place;
    slider.setAttribute("aria-valuetext", state.depths[place].name);
    words.textContent = describe(state, place);
    stage.replaceChildren(learning(state, place, width), ...(state.stages.length ? [keeping(state, place, width)] : []));
  };
  slider.addEventListener("input", () => { model.set("depth", Number(slider.value)); model.save_changes(); });
  model.on("change:depth", draw);
  let width = 0;
  const observer = new ResizeObserver(() => { if (stage.clientWidth !== width) { width = stage.clientWidth; draw(); } });
  observer.observe(stage);
  draw();
  return () => { observer.disconnect(); model.off("change:depth", draw); };
}

export default { render };
