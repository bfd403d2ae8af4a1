"""A run's class activation maps of some test images, at native size, which are published beside its predictions.

Which pairs of an image and a finding these are hangs on the data set alone, so that all networks are seen on the same
ones. `maps.npz` in the run's folder holds image (P,), finding (P,), maps (P, h, w), the paper's in half precision, and
the probabilities (P,) by which they are scaled: a map is 3 x 3 cells for most networks at 96 pixels, so a file takes
some kilobytes. torch is imported when a map is made, not when one is read.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from chexlib.data.dataset import Dataset
from chexlib.errors import UserError
from chexlib.runs.store import Run, RunStore

FILE = "maps.npz"
SHOWN, MARKED = 12, 64
"""Images of which there is a map of every finding; images a finding that are taken because it is marked on them."""


def frontal(dataset: Dataset, split: str = "test", finding: str | None = None) -> np.ndarray:
    """Rows of the frontal images of a split, those with the finding alone where one is given.

    CheXpert's test set does not tell AP from PA.
    """
    rows = dataset.rows(split)
    kept = (dataset.table["view"] != "LATERAL").to_numpy()[rows]
    if finding is not None:
        kept &= (dataset.table[finding] == 1).to_numpy()[rows]
    return rows[kept]


def shown_rows(dataset: Dataset, findings: Sequence[str], most: int = SHOWN) -> np.ndarray:
    """The first frontal test images with each finding, in turn, `most` in all, each once; the first of all if none."""
    its = [frontal(dataset, finding=finding)[:most] for finding in findings]
    in_turn = [rows[n] for n in range(most) for rows in its if n < len(rows)]
    return np.array(list(dict.fromkeys(in_turn))[:most] or frontal(dataset)[:1], dtype=int)


def map_pairs(dataset: Dataset, findings: Sequence[str]) -> pd.DataFrame:
    """What maps are made of: a row a pair, columns row (of the data set), image, patient, finding, marked.

    They are every finding of `shown_rows`, and of each finding the first MARKED frontal test images on which somebody
    marked where it is.
    """
    pairs = {(int(row), finding): False for row in shown_rows(dataset, findings) for finding in findings}
    for finding in findings:
        marked = (int(row) for row in frontal(dataset, finding=finding) if np.any(dataset.mask(row, finding)))
        pairs |= {(row, finding): True for row, _ in zip(marked, range(MARKED), strict=False)}
    rows = [(row, finding, marked) for (row, finding), marked in sorted(pairs.items())]
    table = pd.DataFrame(rows, columns=["row", "finding", "marked"])
    names = dataset.table[["image", "patient"]].iloc[table["row"]].reset_index(drop=True)
    return pd.concat([table["row"], names, table[["finding", "marked"]]], axis=1)


def native_maps(run: Run, dataset: Dataset, pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Maps (P, h, w) and probabilities (P,) of these pairs: the run's published ones, else its best checkpoint's.

    Raises UserError where the run has neither, and where its file lacks a pair.
    """
    if (run.folder / FILE).exists():
        return _read(run, pairs)
    from chexlib.explain.cam import scaled, sums
    from chexlib.training.checkpoints import load_model
    from chexlib.training.device import device_type

    model, prepare = load_model(with_weights(run) or run)
    model, names = model.to(device_type()), list(pairs["finding"].unique())
    rows, image = np.unique(pairs["row"], return_inverse=True)
    x = prepare(dataset.pixels[rows], device_type())
    summed, logits = sums(model, x, names)  # (N, T, h, w) and (N, T)
    maps, p = scaled(summed, logits).numpy(force=True), logits.sigmoid().numpy(force=True)
    at = image, pairs["finding"].map(names.index).to_numpy()
    return maps[at].astype(np.float16).astype(np.float32), p[at]  # as they are published


def with_weights(run: Run, store: RunStore | None = None) -> Run | None:
    """The same run where its weights are: here, or, of a published one, in the run store; None where they are not."""
    for one in (run, Run((store or RunStore.open()).folder / run.run_id)):
        if one.finished and any(one.checkpoints.glob("*.safetensors")):
            return one
    return None


def as_npz(maps: np.ndarray, p: np.ndarray, pairs: pd.DataFrame) -> bytes:
    """The file's content."""
    buffer, text = io.BytesIO(), {name: pairs[name].to_numpy(str) for name in ("image", "finding")}
    np.savez_compressed(buffer, maps=maps.astype(np.float16), p=p.astype(np.float32), **text)
    return buffer.getvalue()


def _read(run: Run, pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    path, content = run.folder / FILE, run.read(FILE)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            places = {pair: n for n, pair in enumerate(zip(file["image"], file["finding"], strict=True))}
            maps, p = file["maps"], file["p"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"{path}: not readable as maps: export the study again") from None
    wanted = list(zip(pairs["image"], pairs["finding"], strict=True))
    if lacking := [pair for pair in wanted if pair not in places]:
        raise UserError(f"{path}: lacks a map of {lacking[0][1]} on {lacking[0][0]}: export the study again")
    at = [places[pair] for pair in wanted]
    return maps[at].astype(np.float32), p[at]
