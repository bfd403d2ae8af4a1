"""Whether an image looks like those that a network learned from: inverted, turned, from the side, no chest X-ray.

An image is compared with the training images of a view at 64 x 64 px, in two maps: brightness (32 x 32, less the
image's mean, over its standard deviation) and detail (16 x 16, the logarithm of the standard deviation within 4 x 4
px). Each map has a mean and principal components, and so a distance: Mahalanobis in the components, and what they leave
over its own mean (probabilistic PCA; Tipping and Bishop, Journal of the Royal Statistical Society B 1999).

- Inverted or turned: a negative or a turned copy has a brightness map that is TURNED times nearer, and is as usual.
- As usual: `NUMBERS` numbers, of how the maps lie to the training images', of the image's symmetry and its detail,
  have a Mahalanobis distance within a limit. What is usual is learned on patients whose images the maps have not seen.
- Lateral: as usual among the lateral training images, of a set that has LEAST of them and says which they are.
- Anything else is no chest X-ray; a photograph in colour is known by its colours (`COLOURFUL`) alone.

Of 1,000 X-rays of NIH's, each judged by what was learned of other patients, 997 are as usual, and of the three one does
stand on its head; of their negatives and turned copies 99 % are named as what they are. Of pages of text, noise, ramps,
shapes and clouds 99 % are no chest X-ray, of photographs without their colours 91 % are not as usual. Phantoms are told
better: all of 189 lateral views but one. Against NIH's, which has none, lateral phantoms are as usual: do not count on
it where a set has no lateral views. Mirrored images are left out: a heart on the right may be the patient's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chexlib.data.dataset import Dataset

Floats = NDArray[np.float64]

FILE = "looks.safetensors"
"""Of a run's folder, beside its checkpoints; like these it is not published."""

SIDE, BRIGHTNESS, DETAIL = 64, 32, 16
"""Pixels of a side: of what is looked at, and of the two maps of it."""

COMPONENTS = {"brightness": 32, "detail": 16}
"""Of each map; fewer where there are fewer than ten images for each."""

NUMBERS = 8
"""Three of each map (correlation with the mean, distance within the components, what they leave), symmetry, detail."""

LEAST, MOST = 100, 1000
"""Training images of a view: with fewer nothing is learned, of more so many are taken, spread evenly."""

FOLDS, TINY = 5, 1e-9

TURNED = 1.1
"""How many times nearer a negative or a turned copy must be."""

LIMIT = 3.5
"""Standard deviations above the mean of cube roots of distances, which are nearly normal (Wilson and Hilferty 1931)."""

COLOURFUL = 16.0
"""Grey levels between an image's strongest and weakest colour, in the mean over its pixels. X-rays have 0; a film that
was photographed is tinted by a few."""

USUAL, LATERAL, OTHER, FLAT = "as usual", "lateral", "no chest X-ray", "one grey all over"
UNKNOWN = "not looked at"
"""What is said of images where nothing was learned."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Of vectors (d,): `mean` (d,), `axes` (k, d), the variances along these (k,), and `rest`, that of each other
    dimension."""

    mean: Floats
    axes: Floats
    variances: Floats
    rest: Floats  # a number

    @classmethod
    def of(cls, vectors: Floats, components: int) -> Gaussian:
        """Of vectors (n, d)."""
        n, d = vectors.shape
        k, mean = min(components, n // 10), vectors.mean(axis=0)
        _, lengths, axes = np.linalg.svd(vectors - mean, full_matrices=False)
        variances = np.maximum(lengths**2 / n, TINY)  # of images that are all the same, too
        return cls(mean, axes[:k], variances[:k], variances[k:].sum() / (d - k))

    def parts(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Squared distance of vectors (n, d) within the components, and beside them, (n,) each."""
        apart = vectors - self.mean
        along = apart @ self.axes.T  # (n, k)
        beside = (apart**2).sum(axis=1) - (along**2).sum(axis=1)
        return (along**2 / self.variances).sum(axis=1), np.maximum(beside, 0.0) / self.rest

    def distance(self, vectors: Floats) -> Floats:
        """Squared Mahalanobis distance of vectors (n, d), (n,)."""
        return np.add(*self.parts(vectors))

    def numbers(self, vectors: Floats) -> list[Floats]:
        """How vectors (n, d) lie to it: Fisher's z of the correlation with the mean, and the logarithms of `parts`."""
        within, beside = self.parts(vectors)
        return [_fishers_z(vectors, self.mean), np.log(within + 1e-6), np.log(beside + 1e-6)]


@dataclass(frozen=True, eq=False)
class View:
    """The training images of one view: their two maps, and `centre` (8,), inverse covariance `precision` (8, 8) and
    largest usual squared distance `limit` of their numbers."""

    brightness: Gaussian
    detail: Gaussian
    centre: Floats
    precision: Floats
    limit: Floats  # a number

    @classmethod
    def of(cls, images: Floats, patients: NDArray) -> View:
        """Of images (n, SIDE, SIDE) of these patients (n,)."""
        maps = _maps(images)
        people = np.unique(patients, return_inverse=True)[1]
        fold = (people if people.max() >= FOLDS else np.arange(len(images))) % FOLDS
        found = np.empty((len(images), NUMBERS))
        for held in range(FOLDS):
            others = (Gaussian.of(of[fold != held], k) for of, k in zip(maps, COMPONENTS.values(), strict=True))
            found[fold == held] = _numbers(*others, *(of[fold == held] for of in maps))
        centre, precision = found.mean(axis=0), np.linalg.pinv(np.cov(found.T))
        roots = np.cbrt(_mahalanobis(found - centre, precision))
        limit = max((roots.mean() + LIMIT * roots.std()) ** 3, TINY)
        gaussians = (Gaussian.of(of, k) for of, k in zip(maps, COMPONENTS.values(), strict=True))
        return cls(*gaussians, centre, precision, limit)

    def strangeness(self, images: Floats) -> Floats:
        """Of images (n, SIDE, SIDE) the distance over the largest usual one, (n,): above 1 is unusual."""
        found = _numbers(self.brightness, self.detail, *_maps(images))
        return _mahalanobis(found - self.centre, self.precision) / self.limit

    def best(self, image: Floats) -> tuple[str, float]:
        """How an image (SIDE, SIDE) is turned or inverted, "" where it is not, and the strangeness of it put right."""
        ways = [(_way(quarter, inverted), np.rot90(255 - image if inverted else image, quarter))
                for inverted in (False, True) for quarter in range(4)]  # fmt: skip
        distances = self.brightness.distance(_maps(np.stack([turned for _, turned in ways]))[0])  # (8,)
        upright, righted = self.strangeness(np.stack([image, ways[nearest := int(np.argmin(distances))][1]]))
        if distances[0] > TURNED * distances[nearest] and righted <= 1:
            return ways[nearest][0], float(righted)
        return "", float(upright)


@dataclass(frozen=True, eq=False)
class Looks:
    """What the training images of a data set look like, by view: "frontal", "lateral" or both."""

    views: Mapping[str, View]

    @classmethod
    def of(cls, dataset: Dataset) -> Looks | None:
        """Learned from the set's training images, whichever views and how many of them a network learns from; None
        where there are too few."""
        table = dataset.listing.table
        readable = ~table.index.isin(list(dataset.pixels.bad))
        training = (table["split"] == "train").to_numpy() & readable
        lateral, found = (table["view"] == "LATERAL").to_numpy(), {}
        for name, its in (("frontal", ~lateral), (LATERAL, lateral)):
            rows = np.flatnonzero(training & its)
            if len(rows) >= LEAST:
                rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST, len(rows))).astype(int))]
                images = np.stack([thumbnail(dataset.pixels.array[row]) for row in rows])
                found[name] = View.of(images, table["patient"].to_numpy()[rows])
        return cls(found) if found else None

    def look(self, pixels: NDArray[np.uint8], colours: float = 0.0) -> str:
        """What an image (H, W), stretched to a square, looks like: "as usual", or what is wrong with it in a few words.

        colours: the file's, as chexlib.data.images.colours has them.
        """
        if np.ptp(pixels) == 0:
            return FLAT
        image = thumbnail(pixels)
        found = [(*view.best(image), name) for name, view in self.views.items()]
        usual = [(way != "", strangeness, name, way) for way, strangeness, name in found if strangeness <= 1]
        if colours > COLOURFUL or not usual:
            return OTHER
        _, _, name, way = min(usual)  # upright rather than turned
        return ", ".join(filter(None, (LATERAL if name == LATERAL else "", way))) or USUAL

    def to_bytes(self) -> bytes:
        """As a safetensors file: "frontal.brightness.mean" and so on, in single precision."""
        from safetensors.numpy import save

        tensors = {name: np.asarray(value, dtype=np.float32) for name, value in _flat(self.views)}
        return save({name: np.ascontiguousarray(value) for name, value in tensors.items()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Looks:
        """What `to_bytes` wrote. Raises ValueError where it is not that."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = {name: value.astype(float) for name, value in load(content).items()}
            return cls({view: _view(tensors, view) for view in sorted({name.split(".")[0] for name in tensors})})
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"no looks of training images: {error}") from None


def thumbnail(pixels: NDArray[np.uint8]) -> Floats:
    """An image (H, W) as (SIDE, SIDE)."""
    how = Image.Resampling.BOX if min(pixels.shape) >= SIDE else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), how), dtype=float)


def _way(quarter: int, inverted: bool) -> str:
    """How an image lies that a negative and so many quarter turns to the left put right."""
    turn = ("", "rotated by 90° to the right", "upside down (rotated by 180°)", "rotated by 90° to the left")[quarter]
    return ", ".join(filter(None, ("inverted" * inverted, turn)))


def _maps(images: Floats) -> tuple[Floats, Floats]:
    """Brightness (n, 1024) and detail (n, 256) of images (n, SIDE, SIDE)."""
    n = len(images)
    flat = images.reshape(n, -1) - images.mean(axis=(1, 2))[:, None]
    flat = flat / np.maximum(flat.std(axis=1, keepdims=True), 1.0)
    brightness, detail = (
        flat.reshape(n, side, SIDE // side, side, SIDE // side) for side in (BRIGHTNESS, DETAIL)
    )  # (n, side, px, side, px)
    return brightness.mean(axis=(2, 4)).reshape(n, -1), np.log(detail.std(axis=(2, 4)) + 0.02).reshape(n, -1)


def _numbers(of_brightness: Gaussian, of_detail: Gaussian, brightness: Floats, detail: Floats) -> Floats:
    """The NUMBERS of images, (n, 8), from their maps."""
    mirrored = brightness.reshape(-1, BRIGHTNESS, BRIGHTNESS)[:, :, ::-1].reshape(brightness.shape)
    own = [_fishers_z(brightness, mirrored), detail.mean(axis=1)]
    return np.stack([*of_brightness.numbers(brightness), *of_detail.numbers(detail), *own], axis=1)


def _fishers_z(a: Floats, b: Floats) -> Floats:
    """Fisher's z of Pearson's correlation of each row of a (n, d) with that of b (n, d) or with b (d,)."""
    a, b = (values - values.mean(axis=-1, keepdims=True) for values in (a, b))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.arctanh(np.clip((a * b).sum(axis=-1) / np.maximum(lengths, 1e-9), -0.999, 0.999))


def _mahalanobis(apart: Floats, precision: Floats) -> Floats:
    """Squared, of rows (n, 8), (n,)."""
    return np.einsum("ni,ij,nj->n", apart, precision, apart)


def _flat(views: Mapping[str, View]) -> list[tuple[str, object]]:
    """Names and values of all arrays."""
    return [
        (f"{view}.{name}.{part}" if part else f"{view}.{name}", value)
        for view, its in views.items()
        for name, one in asdict(its).items()
        for part, value in (one.items() if isinstance(one, dict) else [("", one)])
    ]


def _view(tensors: Mapping[str, Floats], view: str) -> View:
    gaussians = (Gaussian(*(tensors[f"{view}.{name}.{part.name}"] for part in fields(Gaussian))) for name in COMPONENTS)
    return View(*gaussians, *(tensors[f"{view}.{name}"] for name in ("centre", "precision", "limit")))
