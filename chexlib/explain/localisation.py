"""How well maps lie on marked findings: the field's measures, one number an image.

Maps (N, H, W) are not negative; masks (N, H, W, bool) say where the finding is. Every measure is in [0, 1], larger is
better, and none changes when a map is multiplied by a number, so that the predicted probability by which the paper
scales its maps does not enter. Ties are shared: of several brightest points each counts alike, and a blank map, which
says the same of every point, scores what a point anywhere scores. So `anywhere`, `centre` and `usual_place` say what a
map has to beat: one that knows nothing, one that knows what a chest film is, one that knows the finding but not the
image. Left out: measures on images without the finding, of which a map says nothing, and Otsu's thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
"""Tried by `best_threshold`, in parts of a map's maximum."""


def hit_rate(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """Whether the brightest point lies on the finding, (N,): its share of the brightest points where several are.

    CheXlocalize's hit rate (Saporta et al., Nature Machine Intelligence 2022).
    """
    maps, masks = _checked(maps, masks)
    peaks = maps == maps.max(axis=(1, 2), keepdims=True)  # (N, H, W)
    return (peaks & masks).sum(axis=(1, 2)) / peaks.sum(axis=(1, 2))


def energy_inside(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """Share of a map's sum that lies on the finding, (N,).

    The energy-based pointing game (Wang et al., Score-CAM 2020), with masks for its boxes.
    """
    maps, masks = _checked(maps, masks)
    total, inside = maps.sum(axis=(1, 2)), (maps * masks).sum(axis=(1, 2))
    return np.divide(inside, total, out=masks.mean(axis=(1, 2)), where=total > 0)


def pixel_auroc(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """Chance that a point on the finding is brighter than one off it, (N,), ties half; NaN where there is none off."""
    maps, masks = _checked(maps, masks)
    flat = masks.reshape(len(masks), -1)  # (N, HW)
    ranks = rankdata(maps.reshape(flat.shape), axis=1)
    n = flat.sum(axis=1)
    wins = (ranks * flat).sum(axis=1) - n * (n + 1) / 2
    pairs = (n * (flat.shape[1] - n)).astype(float)
    return np.divide(wins, pairs, out=np.full(len(n), np.nan), where=pairs > 0)


def iou_curve(maps: ArrayLike, masks: ArrayLike, thresholds: ArrayLike = THRESHOLDS) -> Floats:
    """Intersection over union, (N, K), of the finding and the points at or above a threshold times the map's maximum.

    thresholds: (K,) ascending, above 0 and at most 1; take one from other images (`best_threshold`). After
    CheXlocalize's first measure, which also subtracts the map's minimum and leaves out maps with nothing above.
    """
    maps, masks = _checked(maps, masks)
    thresholds = np.asarray(thresholds, dtype=float)
    n, k = len(maps), len(thresholds)
    cuts = thresholds * maps.max(axis=(1, 2))[:, None]  # (N, K)
    levels = np.stack([np.searchsorted(cut, one.ravel(), "right") for cut, one in zip(cuts, maps, strict=True)])
    levels += (k + 1) * np.arange(n)[:, None]  # (N, HW): how many thresholds a point reaches, a block an image
    reached = np.bincount(levels.ravel(), minlength=n * (k + 1)).reshape(n, k + 1)
    inside = np.bincount(levels[masks.reshape(n, -1)], minlength=n * (k + 1)).reshape(n, k + 1)
    kept, both = (np.cumsum(count[:, ::-1], axis=1)[:, ::-1][:, 1:] for count in (reached, inside))  # (N, K)
    return both / (kept + masks.sum(axis=(1, 2))[:, None] - both)


def best_threshold(curves: Floats, thresholds: ArrayLike = THRESHOLDS) -> float:
    """The threshold of the largest mean IoU (N, K) over these images, the lowest of several, to be used on others."""
    if not len(curves):
        raise ValueError("no image to tune a threshold on: give some with the finding")
    return float(np.asarray(thresholds)[curves.mean(axis=0).argmax()])


def anywhere(masks: Masks) -> Floats:
    """Maps (N, H, W) that say the same of every point."""
    return np.broadcast_to(1.0, masks.shape)


def centre(masks: Masks) -> Floats:
    """Maps (N, H, W) of a bell around the image's centre, half as bright a quarter of the side away from it."""
    y, x = (np.linspace(-0.5, 0.5, n) for n in masks.shape[1:])
    bell = 0.5 ** ((x[None, :] ** 2 + y[:, None] ** 2) / 0.25**2)
    return np.broadcast_to(bell, masks.shape)


def usual_place(masks: Masks, groups: ArrayLike) -> Floats:
    """Maps (N, H, W): how many of the masks of other groups (patients, (N,)) cover a point; 0 without others."""
    total, group = masks.sum(axis=0), np.unique(np.asarray(groups), return_inverse=True)[1]
    own = np.zeros((group.max(initial=-1) + 1, *masks.shape[1:]))
    np.add.at(own, group, masks)
    return total - own[group]


def _checked(maps: ArrayLike, masks: ArrayLike) -> tuple[Floats, Masks]:
    """Both as arrays; ValueError for shapes that differ, maps below 0 or not finite, and a mask that marks nothing."""
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape or masks.dtype != bool:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} {masks.dtype}: both are (N, H, W), masks bool")
    if not (np.isfinite(maps).all() and (maps >= 0).all()):
        raise ValueError("a map holds values below 0, or that are not finite: activation maps do not")
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if len(empty):
        raise ValueError(f"mask {empty[0]} marks nothing: leave out images without the finding")
    return maps.astype(float, copy=False), masks
