// Mounts the book's widgets on a page, with no kernel, no require.js and no network: each widget's output carries its ES module
// and its state as data (see book/chexpaper/widgets/page.py), and gets the small part of the anywidget model that a page needs.
"use strict";

class PageModel {
  constructor(state) {
    this.state = state;
    this.listeners = new Map();
  }
  get(name) {
    return this.state[name];
  }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    for (const callback of this.listeners.get(`change:${name}`) ?? []) callback();
  }
  on(event, callback) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), callback]);
  }
  off(event, callback) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((other) => callback && other !== callback));
  }
  save_changes() {}
}

async function mount(box) {
  const text = (kind) => box.querySelector(`script[data-part="${kind}"]`).textContent;
  const url = URL.createObjectURL(new Blob([JSON.parse(text("module"))], { type: "text/javascript" }));
  try {
    const { default: widget } = await import(url);
    const el = document.createElement("div");
    await widget.render({ model: new PageModel(JSON.parse(text("state"))), el });
    box.append(el);
    box.dataset.mounted = "yes";
  } finally {
    URL.revokeObjectURL(url);
  }
}

for (const box of document.querySelectorAll("[data-chexlib-widget]")) mount(box);
