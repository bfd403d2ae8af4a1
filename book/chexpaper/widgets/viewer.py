"""The map viewer: class activation maps of networks, laid over images as the reader chooses.

Its state holds a handful of small test images, each network's maps of them at native resolution in 8 bits, the
probabilities, and the place of a finding where somebody marked it. The module (cam_viewer.js) stretches a map as
`chexlib.grad_cam` does, cuts it at a threshold, and counts what falls on the marked place; a test compares both with
Python's. It takes arrays: whether images may be shown is asked by who hands them over.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import traitlets
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from chexlib.cam_files import HEAT
from chexpaper.widgets.page import ASSETS, TwoFaced, module

ROOM = 1_200_000
"""Characters that a state takes at most; models that do not fit any more are left out, the last ones first."""

QUALITY = 90
"""Of the JPEGs that a page carries."""

LABELS = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}


class CamViewer(TwoFaced):
    """Class activation maps over images: which image, finding and model, how opaque, from which threshold on.

    `state` is what `viewer_state` gives. Choices may be named, and are linked both ways in JupyterLab: `image`,
    `finding` and `model` are places in the state's lists, `opacity` and `threshold` (a share of the map's maximum) are
    in [0, 1], `native` shows the map's own cells, `mask` outlines the marked place, `stretch` lets the colours end at
    the map's maximum instead of 1.
    """

    _esm = module("cam_viewer.js")
    _css = ASSETS / "cam_viewer.css"
    chosen = ("image", "finding", "model", "opacity", "threshold", "native", "mask", "stretch")
    no_script = (
        "Where JavaScript is on, images, findings and models can be chosen here; the figures above show such maps too."
    )
    image = traitlets.Int(0, min=0).tag(sync=True)
    finding = traitlets.Int(0, min=0).tag(sync=True)
    model = traitlets.Int(0, min=0).tag(sync=True)
    opacity = traitlets.Float(0.75, min=0, max=1).tag(sync=True)
    threshold = traitlets.Float(0.0, min=0, max=1).tag(sync=True)
    native = traitlets.Bool(False).tag(sync=True)
    mask = traitlets.Bool(True).tag(sync=True)
    stretch = traitlets.Bool(False).tag(sync=True)

    def __init__(self, state: Mapping[str, Any], **choices: Any):
        super().__init__(state=dict(state), **(_first_choice(state) | choices))


class NetworkMaps(NamedTuple):
    """One network's maps of I images and F findings, and its name."""

    label: str
    group: str  # its family and init, "ResNet18, random weights"
    maps: NDArray  # (I, F, h, w) in [0, 1], at native resolution
    probabilities: NDArray  # (I, F)


def cam_viewer(*given: Any, **choices: Any) -> CamViewer:
    """The viewer of what `viewer_state` takes; `choices` are made before the reader makes any."""
    return CamViewer(viewer_state(*given), **choices)


def viewer_state(
    networks: Iterable[NetworkMaps],
    images: NDArray,
    labels: ArrayLike,
    views: Sequence[str],
    masks: Sequence[Sequence[NDArray | None]],
    findings: Sequence[str],
    caption: str,
) -> dict[str, Any]:
    """Everything that the viewer shows, as JSON-ready data. It holds no ids.

    images: (I, S, S) uint8; labels: (I, F) as 1, 0, -1 or NaN; views: (I,); masks: I lists of F places (S, S) bool,
    None where nobody marked any. Networks that do not fit in ROOM any more are left out.
    """
    colours = (colormaps[HEAT](np.arange(256))[:, :3] * 255).round().astype(np.uint8)  # (256, 3)
    state = {
        "caption": caption,
        "what": "Phantom image" if "phantom" in caption.lower() else "Image",
        "size": images.shape[-1],
        "findings": list(findings),
        "images": [_image(*one) for one in zip(images, np.asarray(labels, dtype=float), views, masks, strict=True)],
        "colours": _text(colours),
        "models": [],
    }
    room = ROOM - len(json.dumps(state))
    for network in networks:
        found = _maps(network)
        room -= len(json.dumps(found))
        if room < 0 and state["models"]:
            break
        state["models"].append(found)
    return state


def _image(pixels: NDArray, labels: NDArray, view: str, masks: Sequence[NDArray | None]) -> dict[str, Any]:
    """One image: its JPEG, its view, and for each finding its label and its marked place."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    return {
        "jpeg": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "view": view or "frontal",
        "labels": [LABELS.get(label, "not mentioned") for label in labels],
        "masks": [None if mask is None else _runs(mask) for mask in masks],
    }


def _runs(mask: NDArray) -> list[int]:
    """A marked place as lengths of runs, off and on in turn."""
    flat = np.ravel(mask)
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(changes, prepend=0, append=len(flat)).tolist()


def _maps(network: NetworkMaps) -> dict[str, Any]:
    """One network's maps, each in steps of its maximum, and its probabilities."""
    peak = network.maps.max(axis=(2, 3))  # (I, F)
    steps = np.rint(255 * network.maps / np.where(peak > 0, peak, 1)[..., None, None]).astype(np.uint8)
    return {
        "label": network.label,
        "group": network.group,
        "native": list(network.maps.shape[2:]),
        "maps": _text(steps),
        "peaks": np.round(peak.astype(float), 6).tolist(),
        "probabilities": np.round(np.asarray(network.probabilities, dtype=float), 6).tolist(),
    }


def _text(values: NDArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _first_choice(state: Mapping[str, Any]) -> dict[str, int]:
    """The image and finding with the brightest map of the first model, among those with a marked place if there are."""
    peaks = np.array(state["models"][0]["peaks"])  # (I, F)
    marked = np.array([[mask is not None for mask in image["masks"]] for image in state["images"]])
    image, finding = np.unravel_index(np.argmax(peaks + 2 * (marked & (peaks > 0))), peaks.shape)
    return {"image": int(image), "finding": int(finding)}
