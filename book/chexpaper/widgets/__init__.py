"""Widgets with two faces: live in JupyterLab through anywidget, and alive in a page with no kernel and no network."""

from chexpaper.widgets.depth import TransfusionDepth
from chexpaper.widgets.explorer import Explorer
from chexpaper.widgets.viewer import CamViewer, NetworkMaps, cam_viewer

__all__ = ["CamViewer", "Explorer", "NetworkMaps", "TransfusionDepth", "cam_viewer"]
