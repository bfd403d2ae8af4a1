// The map viewer: class activation maps over images. An ES module with anywidget's default export, plain canvas, no dependency.
// The numbers at the top are those of chexlib.grad_cam and chexlib.explain.localisation; a test compares them.

// ---- numbers ----------------------------------------------------------------------------------------------------------------

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// A state with its texts unpacked: maps as bytes, marked places as one byte a pixel, colours as 256 x 3 bytes.
export function unpack(state) {
  return {
    ...state,
    colours: bytes(state.colours),
    models: state.models.map((model) => ({ ...model, maps: bytes(model.maps) })),
    images: state.images.map((image) => ({ ...image, masks: image.masks.map((runs) => runs && pixels(runs)) })),
  };
}

// Lengths of runs, off and on in turn, as one byte a pixel.
export function pixels(runs) {
  const out = new Uint8Array(runs.reduce((sum, length) => sum + length, 0));
  let at = 0;
  runs.forEach((length, i) => { out.fill(i % 2, at, at + length); at += length; });
  return out;
}

// The h x w cells of a model's map of one image and finding, as values in [0, 1].
export function cells(state, model, image, finding) {
  const { native: [h, w], maps, peaks } = state.models[model];
  const first = (image * state.findings.length + finding) * h * w;
  return Float64Array.from(maps.subarray(first, first + h * w), (step) => (step / 255) * peaks[image][finding]);
}

// Cells (h x w) on a square of size x size pixels: bilinear between their centres, as torch's with align_corners=False.
export function upsample(values, [h, w], size) {
  const places = (from) => Array.from({ length: size }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * from) / size - 0.5);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  });
  const [rows, columns, out] = [places(h), places(w), new Float64Array(size * size)];
  rows.forEach(([top, bottom, down], i) => columns.forEach(([left, right, along], j) => {
    const above = values[top * w + left] * (1 - along) + values[top * w + right] * along;
    const below = values[bottom * w + left] * (1 - along) + values[bottom * w + right] * along;
    out[i * size + j] = above * (1 - down) + below * down;
  }));
  return out;
}

// Cells (h x w) on a square of size x size pixels, each as a block.
export function blocks(values, [h, w], size) {
  const place = (i, from) => Math.min(from - 1, Math.floor(((i + 0.5) * from) / size));
  return Float64Array.from({ length: size * size }, (_, k) => values[place(Math.floor(k / size), h) * w + place(k % size, w)]);
}

// One model's map under a choice: its cells, its pixels, its maximum, its probability, and the value from which it is shown
// (a share of the maximum of what is drawn, as chexlib.explain.localisation.iou has it).
export function mapOf(state, choice, model = choice.model) {
  const { native, peaks, probabilities, label, group } = state.models[model];
  const own = cells(state, model, choice.image, choice.finding);
  const peak = peaks[choice.image][choice.finding];
  const values = (choice.native ? blocks : upsample)(own, native, state.size);
  return { label, group, native, cells: own, values, peak, probability: probabilities[choice.image][choice.finding],
    from: choice.threshold * values.reduce((most, value) => Math.max(most, value), 0) };
}

export const isShown = (value, map) => value > 0 && value >= map.from;

// How a map lies on the marked place: intersection over union of what is shown, and the share of all its values inside.
export function agreement(map, mask) {
  let [both, either, inside, all] = [0, 0, 0, 0];
  map.values.forEach((value, k) => {
    const shown = isShown(value, map);
    both += shown && mask[k];
    either += shown || mask[k];
    all += value;
    inside += mask[k] * value;
  });
  return { iou: both / either, inside: all ? inside / all : NaN };
}

// ---- words ------------------------------------------------------------------------------------------------------------------

const percent = (share) => `${Math.round(100 * share)} %`;
const grid = ([h, w]) => `${h} × ${w}`;
const present = (state, image) => state.findings.filter((_, f) => image.labels[f] === "present");
const title = (state, image, i) => `${i + 1}: ${present(state, image).join(", ") || "none of these findings"}`;

export function describe(state, choice, map) {
  const image = state.images[choice.image];
  const finding = state.findings[choice.finding];
  const how = choice.native ? "shown as its own cells" : "stretched over the image";
  const what = map.peak > 0 ? `native resolution ${grid(map.native)}, ${how}` : "nothing in its map speaks for it";
  return `${state.what} ${choice.image + 1} (${image.view} view); ${finding}: ${image.labels[choice.finding]}. `
    + `${map.label}, ${map.group.split(", ").pop()}: probability ${map.probability.toFixed(2)}; ${what}.`;
}

function compare(state, choice, map) {
  const mask = state.images[choice.image].masks[choice.finding];
  if (!mask) return "The place of this finding is not marked in this image.";
  const { iou, inside } = agreement(map, mask);
  const energy = Number.isFinite(inside) ? `; ${percent(inside)} of the map lies inside` : "";
  return `Overlap of what is shown with the marked place (intersection over union): ${iou.toFixed(2)}${energy}.`;
}

// ---- drawing ----------------------------------------------------------------------------------------------------------------

// The map as a small picture of its own: its cells where these are shown, else its pixels.
function overlay(state, choice, map) {
  const [h, w] = choice.native ? map.native : [state.size, state.size];
  const values = choice.native ? map.cells : map.values;
  const end = choice.stretch ? map.peak : 1;
  const data = new ImageData(w, h);
  values.forEach((value, k) => {
    if (!isShown(value, map)) return;
    const level = Math.min(1, value / end);
    const colour = 3 * Math.round(255 * level);
    data.data.set(state.colours.subarray(colour, colour + 3), 4 * k);
    data.data[4 * k + 3] = Math.round(255 * choice.opacity * Math.sqrt(level)); // as Figure 5 is drawn
  });
  const canvas = html("canvas", { width: w, height: h });
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

// The edges of a marked place as lines on a canvas whose side is `side` pixels.
function outline(mask, size, side) {
  const [path, unit] = [new Path2D(), side / size];
  const on = (i, j) => i >= 0 && j >= 0 && i < size && j < size && mask[i * size + j] === 1;
  const line = (i, j, k, l) => { path.moveTo(j * unit, i * unit); path.lineTo(l * unit, k * unit); };
  for (let i = 0; i <= size; i++) {
    for (let j = 0; j <= size; j++) {
      if (on(i, j) !== on(i - 1, j)) line(i, j, i, j + 1);
      if (on(i, j) !== on(i, j - 1)) line(i, j, i + 1, j);
    }
  }
  return path;
}

function paint(canvas, picture, state, choice, map) {
  const [side, context] = [canvas.width, canvas.getContext("2d")];
  context.imageSmoothingEnabled = true;
  context.clearRect(0, 0, side, side);
  context.drawImage(picture, 0, 0, side, side);
  context.imageSmoothingEnabled = !choice.native;
  context.drawImage(overlay(state, choice, map), 0, 0, side, side);
  const mask = state.images[choice.image].masks[choice.finding];
  if (!mask || !choice.mask) return;
  const path = outline(mask, state.size, side);
  for (const [style, width] of [["#000a", 4], ["#fff", 1.6]]) { // seen on light and on dark
    context.strokeStyle = style;
    context.lineWidth = (width * side) / 448;
    context.stroke(path);
  }
}

function scale(state, choice, map) {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((k) => `rgb(${state.colours.subarray(3 * k, 3 * k + 3).join(",")})`);
  const end = choice.stretch ? map.peak : 1;
  return [html("span", {}, "0"), html("span", { class: "bar", style: `background: linear-gradient(90deg, ${stops.join(", ")})` }),
    html("span", {}, end === 1 ? "1" : end.toFixed(2))];
}

function table(state, choice) {
  const mask = state.images[choice.image].masks[choice.finding];
  const heads = ["Model", "Weights", "Map", "Probability", "Overlap", "Inside"];
  const body = state.models.map((_, m) => {
    const map = mapOf(state, choice, m);
    const found = mask ? agreement(map, mask) : {};
    const row = [map.group.split(", ").pop().replace(" weights", ""), grid(map.native), map.probability.toFixed(2), Number.isFinite(found.iou) ? found.iou.toFixed(2) : "–",
      Number.isFinite(found.inside) ? percent(found.inside) : "–"];
    return html("tr", {}, html("th", { scope: "row" }, map.label), ...row.map((cell) => html("td", {}, cell)));
  });
  return html("table", {}, html("thead", {}, html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head)))), html("tbody", {}, ...body));
}

// ---- the widget -------------------------------------------------------------------------------------------------------------

function keep(model, name, value) {
  model.set(name, value);
  model.save_changes();
}

function menu(model, name, label, options) {
  const select = html("select", {}, ...options);
  select.addEventListener("change", () => keep(model, name, Number(select.value)));
  return { node: html("label", { class: "menu" }, html("span", {}, label), select), show: (value) => { select.value = String(value); } };
}

function slider(model, name, label, of = "") {
  const input = html("input", { type: "range", min: 0, max: 100, step: 1 });
  const told = html("output", {});
  input.addEventListener("input", () => keep(model, name, Number(input.value) / 100));
  return { node: html("label", { class: "slider" }, html("span", {}, label), input, told), show: (value) => {
    input.value = String(Math.round(100 * value));
    told.textContent = percent(value);
    input.setAttribute("aria-valuetext", percent(value) + of);
  } };
}

function box(model, name, label) {
  const input = html("input", { type: "checkbox" });
  input.addEventListener("change", () => keep(model, name, input.checked));
  return { node: html("label", { class: "box" }, input, ` ${label}`), show: (value, enabled = true) => { input.checked = value; input.disabled = !enabled; } };
}

function radios(model, name, label, options, id) {
  const group = html("fieldset", {}, html("legend", {}, label));
  const inputs = options.map(([value, text]) => {
    const input = html("input", { type: "radio", name: `${id}-${name}` });
    input.addEventListener("change", () => keep(model, name, value));
    group.append(html("label", {}, input, ` ${text}`));
    return [value, input];
  });
  return { node: group, show: (value) => { for (const [own, input] of inputs) input.checked = own === value; } };
}

const option = (text, value) => html("option", { value }, text);

function modelMenu(state) {
  const groups = [...new Set(state.models.map((model) => model.group))];
  return groups.map((group) => html("optgroup", { label: group }, ...state.models.flatMap((model, m) =>
    (model.group === group ? [option(`${model.label}: ${grid(model.native)}`, m)] : []))));
}

const CHOICES = ["image", "finding", "model", "opacity", "threshold", "native", "mask", "stretch"];
let count = 0;

function render({ model, el }) {
  const state = unpack(model.get("state"));
  const id = `chexlib-cam-viewer-${count++}`;
  const controls = {
    image: menu(model, "image", "Image", state.images.map((image, i) => option(title(state, image, i), i))),
    finding: menu(model, "finding", "Finding", state.findings.map((name, f) => option(name, f))),
    model: menu(model, "model", "Model", modelMenu(state)),
    native: radios(model, "native", "Resolution", [[false, "upsampled"], [true, "native"]], id),
    opacity: slider(model, "opacity", "Opacity"),
    threshold: slider(model, "threshold", "Threshold", " of the map’s maximum"),
    mask: box(model, "mask", "outline the marked place"),
    stretch: box(model, "stretch", "colours end at this map’s maximum"),
  };
  const canvas = html("canvas", { role: "img" });
  const stage = html("div", { class: "stage" }, canvas);
  const [key, told, agrees] = [html("div", { class: "key" }), html("p", { class: "told", role: "status" }), html("p", { class: "agrees" })];
  const rows = html("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "All models on this image and finding" });
  const more = html("details", {}, html("summary", {}, "All models on this image and finding, as a table"), rows);
  el.append(html("div", { class: "chexlib-cam-viewer" },
    html("div", { class: "sides" }, html("div", { class: "picture" }, stage, key),
      html("div", { class: "controls" }, ...Object.values(controls).map((control) => control.node), told, agrees)),
    more, html("p", { class: "source" }, `${state.caption} Not for clinical use.`)));

  const pictures = state.images.map((image) => Object.assign(new Image(), { src: `data:image/jpeg;base64,${image.jpeg}` }));
  const draw = () => {
    const choice = Object.fromEntries(CHOICES.map((name) => [name, model.get(name)]));
    const map = mapOf(state, choice);
    const marked = Boolean(state.images[choice.image].masks[choice.finding]);
    for (const [name, control] of Object.entries(controls)) control.show(choice[name], name !== "mask" || marked);
    const [words, compared] = [describe(state, choice, map), compare(state, choice, map)];
    if (told.textContent !== words) told.textContent = words; // said aloud only when it changes
    agrees.textContent = compared;
    canvas.setAttribute("aria-label", `${words} ${compared}`);
    key.replaceChildren(...scale(state, choice, map));
    rows.replaceChildren(...(more.open ? [table(state, choice)] : []));
    canvas.width = canvas.height = Math.round((stage.clientWidth || 384) * (window.devicePixelRatio || 1));
    if (pictures[choice.image].complete) paint(canvas, pictures[choice.image], state, choice, map);
  };
  for (const picture of pictures) picture.addEventListener("load", draw);
  more.addEventListener("toggle", draw);
  for (const name of CHOICES) model.on(`change:${name}`, draw);
  let width = 0;
  const observer = new ResizeObserver(() => { if (stage.clientWidth !== width) { width = stage.clientWidth; draw(); } });
  observer.observe(stage);
  draw();
  return () => { observer.disconnect(); for (const name of CHOICES) model.off(`change:${name}`, draw); };
}

export default { render };
