"""A finished run and a user's own image files: what they look like, and what it predicts of them (`chexlib predict`).

Files are read as the run's data set reads its own (chexlib.data.images), stretched to its size and normalised as in
training. Probabilities are means over its kept checkpoints, as its own predictions are. What they are worth is counted
on its validation and test images, whose labels it has: at a threshold, and among images of such a probability. All this
is of images like those of its data set, so first is said where one looks otherwise (chexlib.data.looks). Nothing here
is fit for clinical use, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data import looks
from chexlib.data.images import BadImage, Picture, colours, read_picture, visible_files
from chexlib.data.labels import FINDINGS, TASKS
from chexlib.data.names import finding_of
from chexlib.data.sources import SOURCES
from chexlib.errors import UserError, nearest
from chexlib.escape import records
from chexlib.models import architecture
from chexlib.runs.store import Run, RunStore
from chexlib.stats.calibration import reliability
from chexlib.stats.intervals import FEW
from chexlib.stats.thresholds import choose_threshold

NOT_FOR_PATIENTS = "Not for clinical use: a research program's network, which no one has tested on patients."

OPERATING = ("threshold", *(f"{split}_{what}" for split in ("val", "test")
             for what in ("found", "positives", "cleared", "negatives")))  # fmt: skip


@dataclass(frozen=True, eq=False)
class OwnImages:
    """N image files as a run takes them."""

    files: tuple[Path, ...]
    pictures: tuple[Picture, ...]  # of the run's size
    looks: tuple[str, ...]  # what each looks like: a phrase of chexlib.data.looks

    @property
    def pixels(self) -> np.ndarray:
        """(N, size, size) uint8."""
        return np.stack([picture.pixels for picture in self.pictures])

    @property
    def warnings(self) -> list[str]:
        """A line for each image that looks otherwise than the training images, or one where nobody looked."""
        lines = [
            f"{file}: looks {'like ' if look == looks.OTHER else ''}{look}: what is said of it may mean nothing"
            for file, look in zip(self.files, self.looks, strict=True)
            if look not in (looks.USUAL, looks.UNKNOWN)
        ]
        if looks.UNKNOWN in self.looks:
            lines.append("Whether images are upright chest X-rays was not looked at: the run noted nothing of its own.")
        return lines


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a run predicts of images.

    table: a row an image and finding: file, looks, finding, probability, threshold, positive (whether it reaches the
    threshold; NA without one), then of the run's validation and test images of such a probability `lowest` to
    `highest` how many (`images`) and how many `with_finding`, their share's 95 % interval `low` to `high`.
    operating: a row a finding: threshold, then for val and test how many `positives` it `found`, how many `negatives`
    it `cleared`.
    """

    images: OwnImages
    table: pd.DataFrame
    operating: pd.DataFrame
    about: str

    def text(self) -> str:
        """For a terminal: first what images look like, then the table, then what its thresholds are worth."""
        parts = ["\n".join(self.images.warnings)] if self.images.warnings else []
        shown = pd.DataFrame({
            "file": self.table["file"],
            "finding": self.table["finding"],
            "probability": self.table["probability"].map("{:.3f}".format),
            "call": self.table["positive"].map({True: "positive", False: "negative"}).fillna("none"),
            "of images with such a probability, had it": [_share(row) for row in self.table.itertuples()],
        })  # fmt: skip
        parts.append(shown.to_string(index=False))
        rates = pd.DataFrame({
            "finding": self.operating.index,
            "threshold": [_number(value) for value in self.operating["threshold"]],
        })  # fmt: skip
        for split, where in (("val", "validation"), ("test", "test")):
            for what, right, all_of in (("sensitivity", "found", "positives"), ("specificity", "cleared", "negatives")):
                pairs = self.operating[[f"{split}_{right}", f"{split}_{all_of}"]].to_numpy()
                rates[f"{what}, {where}"] = [_rate(*pair) for pair in pairs]
        parts.append(
            "Positive is what reaches the threshold of greatest sensitivity plus specificity on the run's validation "
            "images\n(chosen there, it is flattered there; the test images are the fair ones):"
        )
        return "\n\n".join([*parts, rates.to_string(index=False), self.about])

    def to_json(self) -> dict:
        """What `--json` prints: numbers as they were computed, None where there is none."""
        operating = self.operating.rename_axis("finding").reset_index()
        tables = {"predictions": records(self.table), "operating_points": records(operating)}
        return tables | {"warnings": self.images.warnings, "about": self.about.splitlines()}


def predict_files(
    files: Sequence[str | Path],
    run: str | Path,
    findings: Sequence[str] = (),
    store: RunStore | None = None,
    progress: bool = True,
) -> Predicted:
    """What a finished run predicts of image files.

    files: PNG, JPEG, DICOM or whatever else Pillow reads, or folders of them. run: a run's folder, or its run_id in the
    store. findings: any spelling of CheXpert's names; by default those of the paper's six that the run learned. Raises
    UserError for a run, a finding or an image that cannot be used.
    """
    run = (store or RunStore.open()).find(run)
    findings = learned(run, findings)
    images = read(files, run)

    from chexlib.training.predict import predict_with  # torch, only once files and findings are known to be right

    found = predict_with(run, images.pixels, np.arange(len(images.files)), "predicting" if progress else "")
    p = found[:, [FINDINGS.index(finding) for finding in findings]]  # (N, T)
    p = p.astype(np.float32).astype(float)  # as the run's own are kept, so that ties are ties
    known = run.predictions()
    operating = pd.DataFrame([_operating(known, finding) for finding in findings], findings, columns=list(OPERATING))
    seen = [_observed(known, finding, p[:, t]) for t, finding in enumerate(findings)]  # T tables of N rows
    rows = []
    for n, t in np.ndindex(p.shape):
        threshold, its = operating["threshold"].iloc[t], seen[t].iloc[n]
        positive = pd.NA if np.isnan(threshold) else bool(p[n, t] >= threshold)
        one = {"file": str(images.files[n]), "looks": images.looks[n], "finding": findings[t]}
        rows.append(one | {"probability": float(p[n, t]), "threshold": threshold, "positive": positive} | dict(its))
    counts = dict.fromkeys(("images", "with_finding"), "Int64")
    return Predicted(images, pd.DataFrame(rows).astype(counts), operating, "\n".join(about(run)))


def learned(run: Run, names: Sequence[str] = ()) -> list[str]:
    """The findings of these names, each once; all of the paper's six where none is named.

    What a run learned is what any of its images had a label of. Raises UserError for what it did not learn.
    """
    run.need_findings()
    table = run.predictions()
    known = [f for f in FINDINGS if f"y:{f}" in table and table[f"y:{f}"].notna().any()]
    found = {name: finding_of(name) for name in names}
    for name, finding in found.items():
        if finding not in known:
            raise UserError(f"finding {name!r} is not one that run {run.run_id} learned: {nearest(name, known)}")
    return list(dict.fromkeys(found.values())) or [task for task in TASKS if task in known] or known


def read(files: Sequence[str | Path], run: Run) -> OwnImages:
    """The images as the run's data set reads its own, and what they look like; of folders, the images in them.

    Raises UserError for the first that cannot be read, and for a folder without an image.
    """
    size, bits = run.spec.size, run.spec.options.get("bits")
    found: dict[Path, Picture] = {}
    for given in dict.fromkeys(Path(file).expanduser() for file in files):
        if not given.is_dir():
            found[given] = _picture(given, size, bits)
            continue
        inside = dict.fromkeys(map(Path, visible_files(given)))
        for path in inside:
            with suppress(BadImage):  # other files, that lie among them
                found[path] = read_picture(path, size, bits)
        if not inside.keys() & found.keys():
            raise UserError(f"{given}: no image lies in it: give PNG, JPEG or DICOM files; nothing was written")
    usual = _looks(run)
    said = [usual.look(picture.pixels, colours(path)) if usual else looks.UNKNOWN for path, picture in found.items()]
    return OwnImages(tuple(found), tuple(found.values()), tuple(said))


def about(run: Run) -> list[str]:
    """What a run's numbers are not for, and what they are of, a sentence a line."""
    spec, members = run.spec, len(run.provenance["ensemble"])
    source = SOURCES[spec.dataset].title if spec.dataset in SOURCES else spec.dataset
    drawn = " It learned from drawn images: what it says of a real X-ray means nothing."
    label = architecture(spec.arch).label(spec.minus, spec.norm)
    means = f"means over its {members} kept checkpoints" if members > 1 else "its one kept checkpoint's"
    return [
        NOT_FOR_PATIENTS,
        f"Run {run.run_id}: {label}, trained on {source}.{drawn if spec.dataset == 'phantom' else ''}",
        f"Images were stretched to {spec.size} x {spec.size} px; probabilities are {means}.",
    ]


def _picture(file: Path, size: int, bits: int | None) -> Picture:
    if not file.exists():
        raise UserError(f"{file}: no such file; nothing was written")
    try:
        return read_picture(file, size, bits)
    except BadImage as error:
        why = f"cannot be decoded ({error.reason}): give PNG, JPEG or DICOM files"
        raise UserError(f"{file}: {why}; nothing was written") from None


def _looks(run: Run) -> looks.Looks | None:
    """What the run noted of its training images; None where it noted nothing. UserError where it is damaged."""
    return looks.Looks.from_bytes(run.read(looks.FILE)) if (run.folder / looks.FILE).exists() else None


def _labelled(table: pd.DataFrame, finding: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and patients of the images whose label is known, (n,) each."""
    table = table[table[f"y:{finding}"].notna()]
    return table[f"y:{finding}"].to_numpy(float), table[f"p:{finding}"].to_numpy(float), table["patient"].to_numpy()


def _operating(known: pd.DataFrame, finding: str) -> list[float]:
    """OPERATING of a finding, by Youden's rule; the threshold is NaN where the validation images lack a class."""
    y, p, _ = _labelled(known[known["split"] == "val"], finding)
    threshold = choose_threshold(y, p) if 0 < y.sum() < len(y) else np.nan
    counts = []
    for split in ("val", "test"):
        y, p, _ = _labelled(known[known["split"] == split], finding)
        for of_class, right in ((y == 1, p >= threshold), (y == 0, p < threshold)):
            counts += [np.nan if np.isnan(threshold) else (of_class & right).sum(), of_class.sum()]
    return [threshold, *counts]


def _observed(known: pd.DataFrame, finding: str, p: np.ndarray) -> pd.DataFrame:
    """For each of probabilities p (N,), how many of the run's images with such a one had the finding.

    Images are classed by probability, at least FEW in each (chexlib.stats.calibration). NA where there are fewer than
    FEW, and for a probability beyond all of theirs.
    """
    y, its, patients = _labelled(known[known["split"].isin(["val", "test"])], finding)
    columns = ["images", "with_finding", "low", "high", "lowest", "highest"]
    if len(y) < FEW:
        return pd.DataFrame(np.nan, range(len(p)), columns)
    classes = reliability(y, its, min(10, len(y) // FEW), patients)
    table = pd.DataFrame({name: getattr(classes, name) for name in columns[2:]})
    table = table.assign(images=classes.count, with_finding=(classes.observed * classes.count).round())[columns]
    place = np.searchsorted(classes.highest, p)  # the class that ends at or above it
    outside = (place == len(table)) | (p < classes.lowest[0])
    found = table.iloc[np.minimum(place, len(table) - 1)].reset_index(drop=True).astype(float)
    found[outside] = np.nan
    return found


def _share(row) -> str:
    if pd.isna(row.images):
        return "not known: too few images, or none with such a probability"
    share = f"{row.with_finding / row.images:.2f} ({row.low:.2f} to {row.high:.2f})"
    return f"{share}: {row.with_finding} of {row.images} with {row.lowest:.3f} to {row.highest:.3f}"


def _rate(hits: float, n: float) -> str:
    """ "0.83 (19 of 23)"; how few there are is said by the numbers."""
    return "not known" if np.isnan(hits) or not n else f"{hits / n:.2f} ({hits:.0f} of {n:.0f})"


def _number(value: float) -> str:
    return "none: validation lacks a class" if np.isnan(value) else f"{value:.3f}"
