"""What this book changes in a stock Jupyter Book so that it needs no server and no network.

- Thebe's script is dropped: it would be fetched from a CDN, and declared twice it breaks every page.
- Executed notebooks lose the saved state of Jupyter widgets (their page face is `text/html`), and the cell in which
  Papermill injected parameters is folded, as the cell it overrides is.
"""

from __future__ import annotations

import json


def without_thebe(app, pagename, templatename, context, doctree) -> None:
    """Leave out every script and style sheet of Thebe."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if "thebe" not in f"{file} {_body(file)}".lower()]


def _body(file) -> str:
    return str(getattr(file, "attributes", {}).get("body", ""))


def trim_notebook(app, docname: str, source: list[str]) -> None:
    """Drop saved widget state, and fold the injected parameters, of an executed notebook."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if {"parameters", "injected-parameters"} & set(tags) and not _hidden(tags):
            tags.append("hide-cell")
    source[0] = json.dumps(notebook)


def _hidden(tags: list[str]) -> bool:
    return any(tag.startswith(("hide-", "remove-")) for tag in tags)


def setup(app):
    """Connect the two changes; called by Sphinx."""
    app.connect("source-read", trim_notebook, priority=100)
    app.connect("html-page-context", without_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
