"""Fixtures of the book's tests: made-up results, a project with a tiny book, the real book of study smoke."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from chexlib.results import open_results
from chexpaper.build.book import build
from tests.made_runs import make_store

ROOT = Path(__file__).parents[2]
DRIVE = """async (box) => {
  const view = () => [...box.querySelectorAll(".stage, .rho, .rows, canvas")]
    .map((node) => node.toDataURL?.() ?? node.innerHTML).join("|");
  const dead = [];
  const tries = async (name, ...changes) => {
    let alive = false;
    for (const change of changes) {
      const before = view();
      change();
      await new Promise((done) => setTimeout(done, 30));
      alive ||= view() !== before;
    }
    if (!alive) dead.push(name);
  };
  for (const name of new Set([...box.querySelectorAll("input[type=radio]")].map((input) => input.name)))
    await tries(name, () => box.querySelector(`input[name="${name}"]:not(:checked):not(:disabled)`)?.click());
  for (const input of box.querySelectorAll("input[type=checkbox]"))
    await tries(input.parentElement.textContent, () => input.click());
  for (const input of box.querySelectorAll("input[type=range]"))
    await tries(input.parentElement.textContent, () => {
      input.value = input.value === input.max ? input.min : input.max;
      input.dispatchEvent(new Event("input"));
    });
  for (const button of box.querySelectorAll("button[aria-pressed]:not([aria-disabled=true])"))
    await tries(button.textContent, () => button.click(), () => button.click());
  for (const select of box.querySelectorAll("select"))
    await tries(select.parentElement.textContent, ...[...select.options].map((option) => () => {
      select.value = option.value;
      select.dispatchEvent(new Event("change"));
    }));
  return dead;
}"""
"""Uses every control of a widget, and gives the names of those that change nothing that is seen."""

GLUED = {"scrapbook": {"mime_prefix": "", "name": "answer"}}


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Results of networks that nobody trained: twelve of the paper, two others, one truncated, one with two seeds."""
    folder, both = tmp_path_factory.mktemp("made"), ["random", "imagenet"]
    arch = ["densenet121", "densenet169", "densenet201", "resnet34", "resnet50", "resnet101", "mobilenet_v2"]
    arch += [*(f"efficientnet_b{size}" for size in range(4)), "nasnetamobile", "efficientnet_lite0"]
    runs = [{"arch": arch, "init": both}, {"arch": "resnet18", "init": both, "seed": [0, 1]}]
    runs += [{"arch": "densenet121", "minus": 1, "init": both}]
    path = folder / "made.yaml"
    path.write_text(yaml.safe_dump({"common": {"size": 96}, "runs": runs}))
    return open_results(path, make_store(folder / "runs", path).folder, replicates=60)


@pytest.fixture
def mounted(browser):
    """Mounts a widget on a page of its own, as the book does: its box. Any error on the page fails the test."""
    page, troubles = browser.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))

    def mount(widget):
        page.set_content(widget._repr_mimebundle_()[0]["text/html"])
        page.add_script_tag(path=ROOT / "book" / "_assets" / "mount.js")
        page.wait_for_selector("[data-mounted]")
        return page.locator("[data-chexlib-widget]")

    yield mount
    page.close()
    assert not troubles


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with a book of its own: a page that quotes the first of two executed notebooks."""
    folder = tmp_path / "project"
    for name in ("_assets", "_ext"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "book" / "references.bib").write_text("@misc{known2020, title={Known}, author={A}, year={2020}}\n")
    (folder / "book" / "index.md").write_text("# Home\n\n{glue:text}`executed/01_a.ipynb::answer:s`\n")
    chapters = [{"file": "book/executed/01_a"}, {"file": "book/executed/02_b"}]
    (folder / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "book/index", "chapters": chapters}))
    (folder / "book" / "executed").mkdir()
    for name in ("01_a", "02_b"):
        answer = new_output("display_data", data={"text/plain": "'An answer'"}, metadata=GLUED)
        cells = [new_markdown_cell(f"# {name}"), new_code_cell("glue()", outputs=[answer], execution_count=1)]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / "book" / "executed" / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="session")
def built_book(smoke_notebooks, tmp_path_factory) -> Path:
    """The HTML folder of the book built from study smoke's executed notebooks."""
    folder = tmp_path_factory.mktemp("book") / "project"
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("executed", "chexpaper"))
    shutil.copytree(smoke_notebooks, folder / "book" / "executed", ignore=shutil.ignore_patterns(".*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, folder)
    return build(folder).parent


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site(built_book):
    """The address of a server of the built book on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built_book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
