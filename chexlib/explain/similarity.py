"""How alike two networks' features are: CCA, SVCCA, PWCCA and linear CKA, each with a null, an interval, a verdict.

A `Pair` reads both networks' features of the same images, batch by batch, and keeps sums over examples. Every measure
is a short function of these sums (`Moments`), so memory depends on how many channels there are, and not on how many
images. Sums are in double precision, of features less their mean in the first batch.

- An example is an image, its maps averaged over positions; or it is one of some positions of an image, drawn evenly,
  with all channels. How Transfusion samples neurons and positions (its Appendix C) is not in the text at hand: this is
  our choice. Where the two networks' maps differ in size, a position is the same place in the image.
- The null is the same measure of features that know nothing of each other: y's are those of another image.
- The interval is a jackknife over groups of images. A bootstrap would draw images twice, and an image beside itself is
  what debiased CKA must not see. It is an interval of what the measure gives for that many images: CCA falls as their
  number grows, and how far it has yet to fall the null shows, no interval.

Ridges are left out: directions with less than `RANK` of the largest one's variance are rounding, at whatever scale
features come, and go; the rest stay as they are. Kernels other than linear ones are left out as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chexlib.errors import UserError, nearest
from chexlib.stats import jackknife

Floats = NDArray[np.float64]

GROUPS = 10
"""Of images, of which the interval leaves out one at a time."""

APART = 10
"""How many images before an image that one came whose features the null puts in their place."""

FEWEST = 2 * GROUPS
"""Images below which nothing is said."""

RANK = 1e-10
"""Share of the largest direction's variance below which one is rounding; single precision rounds to less than that
where means are up to 100 standard deviations. A neuron is constant where its variance is such a share of its mean
square, about its mean in the first batch."""

VARIANCE = 0.99
"""Share of the variance that SVCCA keeps (Raghu et al. 2017, section 2.1)."""

NULL, REACH = 0.3, 0.05
"""Images are enough where the null is at most NULL and the interval reaches REACH to each side. Ten examples a neuron,
the usual rule, give CCA of two equally wide layers a null of 0.27."""


@dataclass(frozen=True)
class Moments:
    """Sums over n examples, p neurons of x and q of y: all that a measure needs to know.

    An example's features are followed by their squared length and by a one, (p + 2,) and (q + 2,), and what is summed
    are products of these: xx (p + 2, p + 2), xy (p + 2, q + 2) and yy (q + 2, q + 2). So one matrix holds products of
    features, their sums, and what takes the bias out of CKA.
    """

    xx: Floats
    xy: Floats
    yy: Floats
    images: int

    @property
    def n(self) -> float:
        return self.xy[-1, -1]

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.xx - other.xx, self.xy - other.xy, self.yy - other.yy, self.images - other.images)


def hsic(z: Floats) -> float:
    """Unbiased HSIC of linear kernels (Song et al., JMLR 2012, equation 5) from sums z (p + 2, q + 2).

    For x and y less their means it is (|x'y|^2 - n / (n - 2) sum_i |x_i|^2 |y_i|^2 + sum_i |x_i|^2 sum_i |y_i|^2
    / ((n - 1)(n - 2))) / (n (n - 3)), so that no n x n matrix is needed (the form of Kornblith et al.'s code). The mean
    over many draws of independent features is 0.
    """
    n, x, y = z[-1, -1], z[:-2, -1] / z[-1, -1], z[-1, :-2] / z[-1, -1]  # means (p,) and (q,)
    to_x, to_y = (np.append(-2 * mean, (1, mean @ mean)) for mean in (x, y))  # |x_i - x|^2 = to_x . (x_i, |x_i|^2, 1)
    lengths = (z[-2, -1] - n * x @ x) * (z[-1, -2] - n * y @ y)
    return (_squared(_centred(z)) - n / (n - 2) * to_x @ z @ to_y + lengths / ((n - 1) * (n - 2))) / (n * (n - 3))


def cka(m: Moments) -> float:
    """Linear CKA (Kornblith et al. 2019, section 3) of unbiased HSICs: their ratio, each over all examples.

    Independent features give 0, with a standard deviation of about 1.4 / n. Raises UserError for more than one example
    an image: positions of one image depend on each other, and debiasing takes them for independent.
    """
    if m.n != m.images:
        raise UserError(
            f"cka: {m.n / m.images:g} positions of an image are not independent, as taking the bias out supposes: "
            "give positions=1, or None for averages over positions"
        )
    return hsic(m.xy) / np.sqrt(hsic(m.xx) * hsic(m.yy))


def biased_cka(m: Moments) -> float:
    """Linear CKA as it is mostly computed: independent features give about sqrt(p q / ((n + p) (n + q)))."""
    return _squared(_centred(m.xy)) / np.sqrt(_squared(_centred(m.xx)) * _squared(_centred(m.yy)))


def cca(m: Moments) -> float:
    """The mean canonical correlation, over as many as the narrower layer has linearly independent neurons.

    Independent features give a mean square of max(p, q) / (n - 1). Where p + q > n - 1, p + q - (n - 1) correlations
    are 1 whatever the features are: raises UserError.
    """
    return float(_correlations(_enough(m)).mean())


def svcca(m: Moments) -> float:
    """`cca` of the principal components that hold VARIANCE (Raghu et al. 2017, section 2.1)."""
    return float(_correlations(_enough(m, VARIANCE)).mean())


def pwcca(m: Moments) -> float:
    """`cca` with correlations weighted by how much of the neurons is in each (Morcos et al. 2018, section 3).

    A direction's weight is the sum over neurons of |<direction, neuron>|. They are the neurons of the narrower layer,
    in linearly independent ones (x where both have as many): its directions span it, those of the wider do not.
    """
    x, y, cross = whitened = _enough(m)
    left, _, right = np.linalg.svd(cross, full_matrices=False)  # (r, k), (k,), (k, s)
    narrower = x.shape[1] <= y.shape[1]
    on_neurons = left.T @ x.T @ _centred(m.xx) if narrower else right @ y.T @ _centred(m.yy)  # (k, p) or (k, q)
    return float(np.average(_correlations(whitened), weights=np.abs(on_neurons).sum(axis=1)))


MEASURES: dict[str, Callable[[Moments], float]] = {
    "cka": cka,
    "cca": cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "biased cka": biased_cka,
}
"""By name; 1 where the features are the same but for what the measure does not see."""

Whitened = tuple[Floats, Floats, Floats]
"""What makes x and y uncorrelated and of length 1, (p, r) and (q, s), and what their products then are, (r, s)."""


def canonical_correlations(m: Moments) -> Floats:
    """Hotelling's (1936), from the largest, as many as the narrower layer has linearly independent neurons."""
    return _correlations(_whitened(m))


def _correlations(whitened: Whitened) -> Floats:
    return np.minimum(np.linalg.svd(whitened[2], compute_uv=False), 1)


def _enough(m: Moments, variance: float = 1) -> Whitened:
    """As `_whitened`; UserError where there are so few examples that some correlations are 1."""
    x, y, cross = _whitened(m, variance)
    rank, neurons = (x.shape[1], y.shape[1]), (_varies(m.xx).sum(), _varies(m.yy).sum())
    if not 0 < sum(rank) <= m.n - 1:
        more = 1 + sum(k if r >= m.n - 1 else r for r, k in zip(rank, neurons, strict=True))  # n itself limits a rank
        raise UserError(
            f"{m.images} images give {m.n:g} examples for {rank[0]} and {rank[1]} independent directions, so that some "
            f"correlations are 1: give at least {ceil(more * m.images / m.n)} images, or more positions of each"
        )
    return x, y, cross


def _whitened(m: Moments, variance: float = 1) -> Whitened:
    x, y = _whitening(m.xx, variance), _whitening(m.yy, variance)
    return x, y, x.T @ _centred(m.xy) @ y


def _whitening(z: Floats, variance: float) -> Floats:
    """W (p, r) with W' S W = 1, S (p, p) the centred products, of the directions that are more than rounding.

    With `variance` below 1, of the fewest principal components that hold this share. CCA does not see how neurons are
    scaled, so they are brought to one length before rounding is told from the rest; principal components do see it.
    """
    varies = _varies(z)
    products = _centred(z)[np.ix_(varies, varies)]
    length = np.sqrt(products.diagonal()) if variance == 1 else np.ones(len(products))
    values, vectors = np.linalg.eigh(products / length[:, None] / length)  # from the smallest
    kept = (values > RANK * values.max(initial=0)) & (values.cumsum() > (1 - variance) * values.sum())
    directions = np.zeros((len(varies), kept.sum()))
    directions[varies] = vectors[:, kept] / np.sqrt(values[kept]) / length[:, None]
    return directions


def _centred(z: Floats) -> Floats:
    """Sums of products of features less their means, (p, q), from sums (p + 2, q + 2)."""
    return z[:-2, :-2] - np.outer(z[:-2, -1], z[-1, :-2] / z[-1, -1])


def _varies(z: Floats) -> NDArray[np.bool_]:
    """(p,): which neurons are not constant."""
    squares = z[:-2, :-2].diagonal()
    return squares - z[:-2, -1] ** 2 / z[-1, -1] > RANK * squares


def _squared(a: Floats) -> float:
    return float(np.vdot(a, a))


@dataclass(frozen=True)
class Similarity:
    """One measure of two networks' features.

    low, high: the 95 % interval over images, of what the measure gives for so many; NaN where too few remain without a
    group of them. null: what features that know nothing of each other give. needed: about how many images it takes for
    `enough`. neurons: of x and of y; constant: how many of these are, and have no part in it.
    """

    measure: str
    value: float
    low: float
    high: float
    null: float
    images: int
    needed: int
    neurons: tuple[int, int]
    constant: tuple[int, int]

    @property
    def enough(self) -> bool:
        """Whether the null is at most NULL and the interval reaches no more than REACH to each side."""
        return self.images >= self.needed


class Pair:
    """Two networks' features of the same images: added batch by batch, kept as sums, asked for a similarity.

    positions: how many of an image's are examples, drawn from `seed` (all of them where maps have no more); None makes
    their average the image's one example. A Pair holds GROUPS times three matrices of channels by channels.
    """

    def __init__(self, positions: int | None = None, seed: int = 0) -> None:
        if positions is not None and positions < 1:
            raise UserError(f"positions={positions}: give at least 1, or None for averages over positions")
        self.positions, self._random = positions, np.random.default_rng(seed)
        self._images = np.zeros(GROUPS, dtype=int)
        self._patients: dict[Hashable, int] = {}

    def add(self, x: Tensor, y: Tensor, patients: Sequence[Hashable] | None = None) -> None:
        """Features (N, C) or maps (N, C, h, w) of the next N images by both networks; images come in random order.

        Tensors or arrays, of any precision, on any device. patients: whose images they are, (N,), so that a patient's
        are left out together; None where nobody has two. Raises UserError for other shapes, for numbers of images or
        of channels that differ, and for values that are not finite.
        """
        x, y = self._examples(x, y)  # (N, P, p) and (N, P, q)
        for name, features in (("x", x), ("y", y)):
            if not (finite := np.isfinite(features).all(axis=(1, 2))).all():
                raise UserError(f"{name} is not finite in {(~finite).sum()} of {len(x)} images: give numbers alone")
        if not self._images.any():
            self._start(x, y)
        x, y = _extended(x, self._of_x, "x"), _extended(y, self._of_y, "y")  # (N, P, p + 2) and (N, P, q + 2)
        if patients is None:
            group = (self._images.sum() + np.arange(len(x))) % GROUPS  # (N,)
        elif len(patients) == len(x):
            group = np.array([self._patients.setdefault(one, len(self._patients)) for one in patients]) % GROUPS
        else:
            raise UserError(f"there are {len(x)} images and {len(patients)} patients: give one for each image")
        for g in np.unique(group):
            of_x, of_y = _rows(x[group == g]), _rows(y[group == g])
            self._images[g] += np.sum(group == g)
            self._xx[g] += of_x.T @ of_x
            self._xy[g] += of_x.T @ of_y
            self._yy[g] += of_y.T @ of_y
        before = np.concatenate([self._last, y])  # begins with the image APART before the first that has one
        without = APART - len(self._last)  # so many have none before them; at last, they get the last ones
        self._apart += _rows(x[without:]).T @ _rows(before[: max(0, len(x) - without)])
        self._first = np.concatenate([self._first, x[: APART - len(self._first)]])
        self._last = before[-APART:]

    def similarity(self, measure: str = "cka") -> Similarity:
        """What one of MEASURES says of the images added so far.

        Raises UserError for a measure that there is not, for fewer than FEWEST images (or patients), for a network of
        which all neurons are constant, and where the measure itself does.
        """
        if measure not in MEASURES:
            raise UserError(f"measure={measure!r} is not known; {nearest(measure, MEASURES)}")
        of, images = MEASURES[measure], int(self._images.sum())
        if (apart := len(self._patients) or images) < FEWEST:
            raise UserError(f"{measure}: {apart} images or patients are too few: give at least {FEWEST}")
        total = Moments(self._xx.sum(axis=0), self._xy.sum(axis=0), self._yy.sum(axis=0), images)
        varies = _varies(total.xx), _varies(total.yy)
        for name, neurons in zip("xy", varies, strict=True):
            if not neurons.any():
                raise UserError(
                    f"{measure}: all {len(neurons)} neurons of {name} are constant: nothing can be compared"
                )
        value = float(of(total))
        null = float(of(replace(total, xy=self._apart + _rows(self._first).T @ _rows(self._last))))
        found = jackknife(value, [self._without(g, total, of) for g in range(GROUPS)])
        short = np.fmax(null / NULL, (found.high - value) / REACH)  # both fall with the root of the number of images
        return Similarity(
            measure,
            value,
            found.low,
            float(np.minimum(found.high, 1)),
            null,
            images,
            needed=max(FEWEST, ceil(images * max(short, 0) ** 2)),
            neurons=(len(varies[0]), len(varies[1])),
            constant=(int((~varies[0]).sum()), int((~varies[1]).sum())),
        )

    def _without(self, g: int, total: Moments, of: Callable[[Moments], float]) -> float:
        """The measure without a group of images; NaN where those that remain are too few for it."""
        try:
            return float(of(total - Moments(self._xx[g], self._xy[g], self._yy[g], int(self._images[g]))))
        except UserError:
            return np.nan

    def _start(self, x: Floats, y: Floats) -> None:
        """Empty sums, and the first batch's means, less which features are summed: a large mean costs no digits."""
        self._of_x, self._of_y = x.mean(axis=(0, 1)), y.mean(axis=(0, 1))
        positions, p, q = x.shape[1], x.shape[2] + 2, y.shape[2] + 2
        self._xx, self._xy, self._yy = (np.zeros((GROUPS, *shape)) for shape in ((p, p), (p, q), (q, q)))
        self._apart = np.zeros((p, q))
        self._first, self._last = np.zeros((0, positions, p)), np.zeros((0, positions, q))

    def _examples(self, x: Tensor, y: Tensor) -> tuple[Floats, Floats]:
        """(N, P, p) and (N, P, q) in double precision, of the same places in the same images."""
        x, y = (torch.as_tensor(features).detach().cpu() for features in (x, y))
        for name, features in (("x", x), ("y", y)):
            if features.ndim not in (2, 4):
                raise UserError(f"{name} has shape {tuple(features.shape)}: give features (N, C) or maps (N, C, h, w)")
        _check_images(x, y)
        x, y = (f if f.ndim == 4 else f[:, :, None, None] for f in (x, y))
        if self.positions is None:
            return tuple(f.mean(dim=(2, 3), dtype=torch.double)[:, None].numpy() for f in (x, y))
        h, w = (max(sizes) for sizes in zip(x.shape[2:], y.shape[2:], strict=True))
        drawn = self._random.random((len(x), h * w), dtype=np.float32).argsort(axis=1)[:, : self.positions]  # (N, P)
        return _at(x, drawn, h, w), _at(y, drawn, h, w)


def _check_images(x: Tensor, y: Tensor) -> None:
    if len(x) != len(y):
        raise UserError(f"x has features of {len(x)} images and y of {len(y)}: give both those of the same images")


def _at(maps: Tensor, places: NDArray[np.int64], height: int, width: int) -> Floats:
    """(N, P, C): what maps (N, C, h, w) hold at places (N, P), numbered row by row on a grid of height x width."""
    h, w = maps.shape[2:]
    cells = torch.from_numpy(places // width * h // height * w + places % width * w // width)  # (N, P)
    values = maps.flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1))  # (N, C, P)
    return values.double().transpose(1, 2).numpy()


def _extended(features: Floats, shift: Floats, name: str) -> Floats:
    """(N, P, C + 2): features (N, P, C) less `shift` (C,), their squared length, and a one."""
    if features.shape[2] != len(shift):
        raise UserError(f"{name} had {len(shift)} channels before and has {features.shape[2]} now")
    features = features - shift
    length = (features**2).sum(axis=2, keepdims=True)  # (N, P, 1)
    return np.concatenate([features, length, np.ones_like(length)], axis=2)


def _rows(examples: Floats) -> Floats:
    """(N, P, C) to (N P, C)."""
    return examples.reshape(-1, examples.shape[2])


def similarity(
    x: Tensor,
    y: Tensor,
    measure: str = "cka",
    patients: Sequence[Hashable] | None = None,
    positions: int | None = None,
    seed: int = 0,
) -> Similarity:
    """One measure of features that are all at hand, (N, C) or (N, C, h, w), in any order; errors as `Pair` has them."""
    _check_images(x, y)
    pair, order = Pair(positions, seed), np.random.default_rng(seed).permutation(len(x))
    for some in np.split(order, range(256, len(x), 256)):
        pair.add(x[some], y[some], None if patients is None else [patients[i] for i in some])
    return pair.similarity(measure)
