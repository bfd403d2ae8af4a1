"""What this book changes in a stock Jupyter Book so that it needs no server and no network.

- Thebe's script is dropped: it would be fetched from a CDN, and declared twice it breaks every page.
- Executed notebooks lose the saved state of Jupyter widgets: their page face is `text/html`.
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
    """Drop the saved widget state of an executed notebook."""
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)
    source[0] = json.dumps(notebook)


def setup(app):
    """Connect the two changes; called by Sphinx."""
    app.connect("source-read", trim_notebook, priority=100)
    app.connect("html-page-context", without_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
