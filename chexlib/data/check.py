"""Reads a data set before anyone trains on it: its label files, its images, and how much its splits can tell.

What may be found is a table, chexlib.data.listing.KINDS. Pixels are looked at in one pass: each image is decoded once,
at SIDE px, in several threads; what is kept of it is a perceptual hash, a thumbnail of 16 x 16 px and its shorter side,
about 400 bytes. Duplicates are copies by their hashes (chexlib.data.hashes), within the set and, by a table of hashes,
of another set's images. An inverted image is one whose thumbnail correlates with the median thumbnail of its view below
INVERTED, an upside-down one fits that median better when it is turned over. Both are known only where most images of a
view are right.
"""

from __future__ import annotations

import os
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from chexlib.data.hashes import FLAT, HASHED, WORDS, copies, hash_images, hash_texts, near_pairs, read_hashes
from chexlib.data.images import BadImage, Files, Images, Picture, visible_files
from chexlib.data.labels import FINDINGS, TASKS, counts
from chexlib.data.listing import FEW, KINDS, PROBLEM, SPLITS, WARNING, Listing, Problem, Remarks
from chexlib.errors import UserError

SIDE, THUMBNAIL = 64, 16

CHUNK = 1024
"""Images in the threads' queue at once."""

INVERTED = -0.2
"""With 20 of 1,000 X-rays of NIH's inverted, in 20 draws, it finds 398 of 400, with 300 inverted 5,956 of 6,000, and of
1,450 phantoms all. It names no image wrongly: upright ones lie above -0.06."""

UPSIDE_DOWN = 0.2
"""How much better the median turned over must fit. With 20 turned over it finds 297 of 400 X-rays and 355 of 400
phantoms. Of images as they come it names one, an X-ray of NIH's that does stand on its head; the next is at 0.14."""

SMALL = 0.5
"""Of the median shorter side."""

NAMED = 3
"""Copies of a known set's images that a message names."""

WIDTH = 100
"""Columns of the terminal that a report is written for."""


@dataclass(frozen=True)
class Report:
    """What was looked at, and what was found; `found` holds warnings and notes, too."""

    images: int
    studies: int
    patients: int
    decoded: int  # images whose pixels were looked at
    found: tuple[Problem, ...]
    notes: tuple[str, ...] = ()  # of the reader: what it put right; and what was compared
    hashes: pd.DataFrame | None = None  # HASHED of the images that were decoded

    @property
    def table(self) -> pd.DataFrame:
        """What was found, the gravest first: a row a kind; kind, severity, found, count, message, advice, items."""
        columns = ("kind", "severity", "found", "count", "message", "advice", "items")
        rows = [
            (problem.kind, kind.severity, kind.title, problem.count, problem.message, kind.advice, list(problem.items))
            for problem, kind in ((problem, KINDS[problem.kind]) for problem in self.found)
        ]
        return pd.DataFrame(rows, columns=columns)

    @property
    def exit_code(self) -> int:
        """1 where training refuses the set or its scores would be wrong, else 0: warnings and notes do not count."""
        return int(any(problem.fatal for problem in self.found))

    @property
    def verdict(self) -> str:
        """One sentence."""
        looked = f"{self.images:,} images of {self.patients:,} patients"
        if self.decoded < self.images:
            looked += f", {self.decoded:,} of them decoded"
        kinds = ((level, list(self.table["severity"]).count(level)) for level in (PROBLEM, WARNING))
        words = " and ".join(f"{n} kind{'s' * (n > 1)} of {level}" for level, n in kinds if n)
        state = "Not fit to train on" if self.exit_code else "Fit to train on"
        return f"{state}: {words or 'nothing wrong'} in {looked}."

    def text(self) -> str:
        """The summary for a terminal of 100 columns: for each kind how grave, how many, the first, and what to do."""
        lines = [line for note in self.notes for line in _wrapped(note)]
        for row in self.table.itertuples():
            lines += [f"{row.severity:<8}{row.count:>8,}  {row.found}", *_wrapped(row.message, indent=18)]
        if lines:
            lines.append("")
        return "\n".join([*lines, *_wrapped(self.verdict)])

    def to_json(self) -> dict:
        """All of it, every item too, for machines."""
        keys = ("images", "studies", "patients", "decoded", "verdict", "exit_code")
        columns = ["kind", "severity", "count", "message", "items"]
        problems = self.table[columns].to_dict("records")
        return {key: getattr(self, key) for key in keys} | {"notes": list(self.notes), "problems": problems}


def _wrapped(text: str, indent: int = 0) -> list[str]:
    """Lines of at most WIDTH columns; a path is never cut."""
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False,
                         break_long_words=False)  # fmt: skip


def check(
    listing: Listing,
    pixels: bool = True,
    most: int | None = None,
    progress: bool = True,
    known: pd.DataFrame | None = None,
) -> Report:
    """Everything that is wrong with a data set, in the order of KINDS.

    `pixels=False` looks at the label files alone. `most` decodes at most so many images, spread evenly over the
    listing, and duplicates are those among them; the report says how many they were. `known` is another set's table of
    HASHED, whose copies are looked for among the decoded images.
    """
    table = listing.table
    remarks, hashes = Remarks(list(listing.all_problems(SPLITS)), list(listing.notes)), None
    _class_counts(listing, remarks)
    if pixels:
        rows = np.flatnonzero(~table["image"].duplicated().to_numpy())
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
        hashes = _look(listing, rows, remarks, progress)
        if known is not None:
            _compare(hashes, known, remarks, progress)
        _files(listing.images, remarks)
    found = sorted(remarks.problems, key=lambda problem: list(KINDS).index(problem.kind))
    of = len(table), table["study"].nunique(), table["patient"].nunique(), 0 if hashes is None else len(hashes)
    return Report(*of, tuple(found), tuple(remarks.notes), hashes)


def _class_counts(listing: Listing, remarks: Remarks) -> None:
    """Findings whose classes are too small for an AUC in a split; uncertain is left out, not mentioned is absent."""
    cases: dict[str, list[str]] = {"no-auc": [], "no-auc-elsewhere": [], "few": []}
    for split, rows in listing.table.groupby("split", sort=False).indices.items():
        raw, covered = listing.table[list(FINDINGS)].to_numpy()[rows], listing.covered[rows]
        for row in counts(raw, "u-ignore", "absent", covered)[covered.any(axis=0)].itertuples():
            rarer = min(row.target_1, row.target_0)
            if rarer < FEW:
                scored = split == "test" and row.Index in TASKS
                kind = "few" if rarer else "no-auc" if scored else "no-auc-elsewhere"
                cases[kind].append(f"{row.Index} in {split}: {row.target_1:,} positive, {row.target_0:,} negative")
    for kind, items in cases.items():
        remarks.wrong(kind, items, after=f": {KINDS[kind].advice}")


def _look(listing: Listing, rows: np.ndarray, remarks: Remarks, progress: bool) -> pd.DataFrame:
    """Decodes the images of these rows and notes what is wrong with them; returns HASHED of those that it could."""
    images, n = listing.images, len(rows)
    names = listing.table["image"].to_numpy()[rows]
    thumbnails, hashes = np.zeros((n, THUMBNAIL, THUMBNAIL), np.uint8), np.zeros((n, WORDS), np.uint64)
    (decoded, flat), (sides, turns, greatest) = np.zeros((2, n), bool), np.zeros((3, n), np.int32)
    missing, unreadable = {}, {}  # place in rows to one line

    def at(k: int) -> None:
        row = int(rows[k])
        try:
            picture = images.picture(row, SIDE) if isinstance(images, Files) else Picture(images.read(row, SIDE))
        except BadImage as error:
            unreadable[k] = str(error)
        except UserError as error:
            missing[k] = str(error)
        else:
            pixels = picture.pixels
            blocks = pixels.reshape(THUMBNAIL, SIDE // THUMBNAIL, THUMBNAIL, SIDE // THUMBNAIL)
            thumbnails[k] = blocks.mean(axis=(1, 3)).round()
            hashes[k] = hash_images(pixels[None])[0]
            decoded[k], flat[k] = True, pixels.std() < FLAT
            sides[k] = min(picture.width, picture.height)
            turns[k], greatest[k] = picture.orientation, picture.greatest

    bar = tqdm(total=n, desc="looking at images", unit="image", disable=not progress, leave=False)
    with bar, ThreadPoolExecutor() as pool:  # decoding is outside the interpreter lock
        for start in range(0, n, CHUNK):  # memory does not grow with what is queued
            for _ in pool.map(at, range(start, min(start + CHUNK, n))):
                bar.update()
    for kind, wrong in (("missing", missing), ("unreadable", unreadable)):
        places = sorted(wrong)
        remarks.wrong(kind, names[places], message=wrong[places[0]] if places else "")
    _wrong(remarks, "constant", names[flat], "is one grey all over")
    _duplicates(listing.table.iloc[rows], hashes, remarks, progress)
    shown = decoded & ~flat
    _orientation(listing.table.iloc[rows[shown]], thumbnails[shown], remarks)
    usual = np.median(sides[sides > 0]) if sides.any() else 0
    small = (sides > 0) & (sides < SMALL * usual)
    _wrong(remarks, "small", names[small], f"{sides[small][:1].sum()} px, where {usual:.0f} are usual")
    turned, deep = turns > 1, greatest > 0
    _wrong(remarks, "turned", names[turned], f"its EXIF orientation is {turns[turned][:1].sum()}")
    if deep.any():
        whites = f"{greatest[deep].min():,} to {greatest[deep].max():,}"
        what = f"greatest values of {whites}" if images.bits else f"white is each one's greatest value ({whites})"
        _wrong(remarks, "deep", names[deep], what)
    table = listing.table.iloc[rows[decoded]]
    return table[list(HASHED[:-1])].assign(hash=hash_texts(hashes[decoded]))


def _wrong(remarks: Remarks, kind: str, items: np.ndarray | list[str], what: str) -> None:
    """Notes images, what is wrong with the first, and what to do."""
    remarks.wrong(kind, items, after=f": {what}: {KINDS[kind].advice}")


def _duplicates(table: pd.DataFrame, hashes: np.ndarray, remarks: Remarks, progress: bool) -> None:
    """Copies of one image under several names: in several splits, else of several patients, else of one."""
    found: dict[str, list[pd.DataFrame]] = {"duplicate-splits": [], "duplicate-patients": [], "duplicate": []}
    for rows in copies(hashes, progress):
        of = table.iloc[rows]
        splits, patients = of["split"].nunique(), of["patient"].nunique()
        kind = "duplicate-splits" if splits > 1 else "duplicate-patients" if patients > 1 else "duplicate"
        found[kind].append(of)
    for kind, groups in found.items():
        for of in groups[:1]:
            where = f"split {' and '.join(of['split'].unique())}, patient {' and '.join(of['patient'].unique())}"
            first, second = of["image"].iloc[:2]
            message = f"{first}: shows the same as {second} ({where}): {KINDS[kind].advice}"
            remarks.wrong(kind, [" = ".join(group["image"]) for group in groups], message=message)


def _compare(own: pd.DataFrame, known: pd.DataFrame, remarks: Remarks, progress: bool) -> None:
    """Copies of a known set's images, by what each set does with them."""
    counts = [f"{n:,} {split}" for split in SPLITS if (n := (known["split"] == split).sum())]
    remarks.notes.append(f"Compared with the known set's images: {', '.join(counts)}.")
    known = known[known["hash"] != ""].drop_duplicates(["split", "hash"])
    pairs = near_pairs(read_hashes(own["hash"]), read_hashes(known["hash"]), progress)
    pairs = pd.concat([own.iloc[pairs[:, 0]].reset_index(drop=True),
                       known.iloc[pairs[:, 1]].reset_index(drop=True).add_prefix("known ")], axis=1)  # fmt: skip
    ours, theirs = pairs["split"] == "train", pairs["known split"] == "train"
    for kind, of in (("known", ~ours & theirs), ("known-held-out", ours & ~theirs), ("known-both", ours & theirs)):
        found = pairs[of].drop_duplicates("image")
        items = (found["image"] + " = " + found["known image"]).tolist()
        counts = found["split"].value_counts()
        some = " and ".join(f"{n:,} of {(own['split'] == split).sum():,} {split} images" for split, n in counts.items())
        message = f"{some}, such as {', '.join(items[:NAMED])}: {KINDS[kind].advice}"
        remarks.wrong(kind, items, message=message)


def _orientation(table: pd.DataFrame, thumbnails: np.ndarray, remarks: Remarks) -> None:
    """Negatives of the other images of their view, and images that stand on their head."""
    small = thumbnails.reshape(-1, THUMBNAIL**2)  # (n, 256)
    names, views = table["image"].to_numpy(), table["view"].to_numpy()
    upright, turned = np.ones(len(names)), np.zeros(len(names))
    for view in pd.unique(views):
        here = np.flatnonzero(views == view)
        median = np.median(small[here] if len(here) >= FEW else small, axis=0).reshape(THUMBNAIL, THUMBNAIL)
        upright[here], turned[here] = (_correlation(small[here], which.ravel()) for which in (median, median[::-1]))
    inverted = upright < INVERTED
    over = ~inverted & (turned - upright > UPSIDE_DOWN)
    _wrong(remarks, "inverted", names[inverted], "looks like a negative of the others")
    _wrong(remarks, "upside-down", names[over], "fits the others better when turned over")


def _correlation(images: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Pearson's, (n,), of each row of (n, d) with (d,); 0 where either is constant."""
    b, found = median - median.mean(), np.zeros(len(images))
    for start in range(0, len(images), CHUNK):
        a = images[start : start + CHUNK] - images[start : start + CHUNK].mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
        np.divide(a @ b, lengths, out=found[start : start + CHUNK], where=lengths > 0)
    return found


def _files(images: Images, remarks: Remarks) -> None:
    """Links that leave the folder; files of the listed images' types below it, but hidden ones, that no row lists."""
    if not isinstance(images, Files):
        return
    _wrong(remarks, "outside", images.outside(), "is outside the folder, by a symbolic link")
    listed = {images.path(row) for row in range(len(images.names))}
    types = {Path(path).suffix.lower() for path in listed}
    files = (path for path in visible_files(images.root) if Path(path).suffix.lower() in types)
    unlisted = sorted(os.path.relpath(path, images.root) for path in files if path not in listed)
    _wrong(remarks, "unlisted", unlisted, "no row lists it")
