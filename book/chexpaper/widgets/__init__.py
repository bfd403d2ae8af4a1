"""Widgets with two faces: live in JupyterLab through anywidget, and alive in a page with no kernel and no network."""

from chexpaper.widgets.explorer import Explorer, decode, encode, explorer_state, summary, visible
from chexpaper.widgets.page import NO_SCRIPT, page_html
from chexpaper.widgets.viewer import CamViewer, cam_viewer

__all__ = [
    "NO_SCRIPT",
    "CamViewer",
    "Explorer",
    "cam_viewer",
    "decode",
    "encode",
    "explorer_state",
    "page_html",
    "summary",
    "visible",
]
