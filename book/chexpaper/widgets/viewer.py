"""The map viewer: class activation maps of truncated families, laid over images as the reader chooses.

Its state holds a handful of small test images, each model's maps of them at native resolution in 8 bits, the
probabilities, and the place of a finding where somebody marked it. The module (cam_viewer.js) stretches a map as
`chexlib.grad_cam` does, cuts it at a threshold, and counts what falls on the marked place; a test compares both with
Python's. Where a data set's terms do not let its images be shown, a line says so and there is no viewer.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import traitlets
from IPython.display import Markdown
from numpy.typing import NDArray

from chexlib.cam_files import HEAT
from chexlib.errors import UserError
from chexlib.runs.store import Run
from chexpaper.plots import TITLES
from chexpaper.widgets.page import ASSETS, TwoFaced

if TYPE_CHECKING:
    from chexlib.data.dataset import Dataset
    from chexlib.results import Results

IMAGES = 6  # that a page carries at most; each task that a frontal test image shows has one among them
ROOM = 1_200_000  # characters that a state takes at most; models that do not fit any more are left out, the last first
QUALITY = 90  # of the JPEGs that a page carries
LABELS = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}


class CamViewer(TwoFaced):
    """Class activation maps over images: which image, finding and model, how opaque, from which threshold on.

    `state` is what `viewer_state` gives. Choices may be named, and are linked both ways in JupyterLab: `image`,
    `finding` and `model` are places in the state's lists, `opacity` and `threshold` (a share of the map's maximum) are
    in [0, 1], `native` shows the map's own cells, `mask` outlines the marked place, `stretch` lets the colours end at
    the map's maximum instead of 1.
    """

    _esm = ASSETS / "cam_viewer.js"
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


class Shown(NamedTuple):
    """A network whose maps are shown: its name, the group that it stands in, and what turns pixels into its input."""

    label: str
    group: str
    network: Any
    prepare: Any


def cam_viewer(results: Results, dataset: Dataset, private: bool = False) -> CamViewer | Markdown:
    """The viewer of a study's truncated families on frontal test images.

    An image a task: the first frontal test image that shows it, chosen before any model has seen it. A line that says
    why there is no viewer where the study truncates nothing, its weights are gone, or its images may not be shown
    (`private=True` overrides that, for your own screen).
    """
    if not (dataset.shareable or private):
        return Markdown(
            f"The terms of {dataset.source.title} do not let images be shown; on your own screen, "
            "`cam_viewer(results, dataset, private=True)` shows them."
        )
    rows, members = first_of_each(dataset, results.tasks), truncated_families(results.models)
    if not rows or members.empty:
        return Markdown("No truncated model stands beside its whole one, or no frontal test image shows a task.")
    caption = f"{results.caption}. {dataset.source.attribution}"
    try:
        return CamViewer(viewer_state(_loaded(results, members), dataset, rows, results.tasks, caption))
    except UserError as error:
        return Markdown(f"No maps can be made to view: {error}.")


def first_of_each(dataset: Dataset, findings: Sequence[str]) -> list[int]:
    """The first frontal test image that shows each finding: at most IMAGES rows, each once."""
    frontal = [row for row in dataset.rows("test") if dataset.table["view"].iat[row] != "LATERAL"]
    shown = (next((row for row in frontal if dataset.table[finding].iat[row] == 1), None) for finding in findings)
    return list(dict.fromkeys(int(row) for row in shown if row is not None))[:IMAGES]


def truncated_families(models: pd.DataFrame) -> pd.DataFrame:
    """Rows of `results.models` that are truncated, or whole and truncated too, with the `group` that they stand in.

    Whole models come first, DenseNet121's family before others, ImageNet weights before random ones.
    """
    whole = models[models["minus"] == 0].set_index(["arch", "init"])["label"]
    names = [TITLES.get(init, init) for init in models["init"]]
    table = models.join(whole.rename("whole"), on=["arch", "init"]).assign(weights=names)
    table["group"] = table["whole"] + ", " + table["weights"]
    table["other"], table["place"] = table["arch"] != "densenet121", table.groupby("arch", sort=False).ngroup()
    members = table[table.groupby(["arch", "init"])["minus"].transform("nunique") > 1].dropna(subset="whole")
    return members.sort_values(["other", "place", "init", "minus"])


def _loaded(results: Results, members: pd.DataFrame) -> Iterator[Shown]:
    """Each with the weights of its first seed, on a GPU if there is one. Raises UserError where they are gone."""
    import torch

    from chexlib.training.checkpoints import load_model
    from chexlib.training.device import device_type

    for model in members.itertuples():
        own = [model.arch, model.init, model.minus]
        runs = results.runs[(results.runs[["arch", "init", "minus"]] == own).all(axis=1)].sort_values("seed")
        network, prepare = load_model(Run(Path(runs["folder"].iat[0])))
        network = network.to(device_type(), memory_format=torch.channels_last)  # on a processor faster by a third
        yield Shown(model.label, model.group, network, partial(prepare, device=device_type()))


# ---- state: networks and images to plain data ----------------------------------------------------------------


def viewer_state(
    models: Iterable[Shown], dataset: Dataset, rows: Sequence[int], findings: Sequence[str], caption: str
) -> dict[str, Any]:
    """Everything that the viewer shows, as JSON-ready data: models on these rows of the data set. It holds no ids."""
    from matplotlib import colormaps

    pixels = np.stack([np.asarray(dataset.pixels[row]) for row in rows])  # (I, H, W)
    colours = (colormaps[HEAT](np.arange(256))[:, :3] * 255).round().astype(np.uint8)  # (256, 3)
    state = {
        "caption": caption,
        "what": "Phantom image" if dataset.name == "phantom" else "Image",
        "size": dataset.size,
        "findings": list(findings),
        "images": [_image(dataset, row, findings, pixels[i]) for i, row in enumerate(rows)],
        "colours": _text(colours),
        "models": [],
    }
    room = ROOM - len(json.dumps(state))
    for model in models:
        found = _maps(model, pixels, findings)
        room -= len(json.dumps(found))
        if room < 0 and state["models"]:
            break
        state["models"].append(found)
    return state


def _image(dataset: Dataset, row: int, findings: Sequence[str], pixels: NDArray) -> dict[str, Any]:
    """One image: its JPEG, its view, and for each finding its label and its marked place."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY)
    labels = dataset.table[list(findings)].iloc[row]
    return {
        "jpeg": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "view": {"": "frontal"}.get(view := dataset.table["view"].iat[row], view),
        "labels": [LABELS.get(label, "not mentioned") for label in labels],
        "masks": [_mask(dataset, row, finding) for finding in findings],
    }


def _mask(dataset: Dataset, row: int, finding: str) -> list[int] | None:
    """The marked place at the data set's size, as lengths of runs, off and on in turn; None where nobody marked any."""
    mask = dataset.mask(row, finding)
    if mask is None or not np.any(mask):
        return None
    down, across = ((np.arange(dataset.size) + 0.5)[:, None] * mask.shape / dataset.size).astype(int).T
    flat = mask[np.ix_(down, across)].ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(changes, prepend=0, append=len(flat)).tolist()


def _maps(model: Shown, pixels: NDArray, findings: Sequence[str]) -> dict[str, Any]:
    """One model's maps of I images and F findings, each in steps of its maximum, and its probabilities."""
    from chexlib.explain.cam import scaled, sums

    maps, logits = sums(model.network, model.prepare(pixels), findings)
    maps, p = scaled(maps, logits).numpy(force=True), logits.sigmoid().numpy(force=True)  # (I, F, h, w) and (I, F)
    peak = maps.max(axis=(2, 3))  # (I, F)
    steps = np.rint(255 * maps / np.where(peak > 0, peak, 1)[..., None, None]).astype(np.uint8)
    return {
        "label": model.label,
        "group": model.group,
        "native": list(maps.shape[2:]),
        "maps": _text(steps),
        "peaks": np.round(peak.astype(float), 6).tolist(),
        "probabilities": np.round(p.astype(float), 6).tolist(),
    }


def _text(values: NDArray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _first_choice(state: Mapping[str, Any]) -> dict[str, int]:
    """The image and finding with the brightest map of the first model, among those with a marked place if there are."""
    peaks = np.array(state["models"][0]["peaks"])  # (I, F)
    marked = np.array([[mask is not None for mask in image["masks"]] for image in state["images"]])
    image, finding = np.unravel_index(np.argmax(peaks + 2 * (marked & (peaks > 0))), peaks.shape)
    return {"image": int(image), "finding": int(finding)}
