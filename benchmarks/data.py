"""Packing, loading and parsing against a plain PIL loop, torchxrayvision and libauc.

The JPEGs are made here, of CheXpert-small's size and of CheXpert's own, from the real X-rays of NIH's beside this
project where they are, from phantoms elsewhere. Every peer reads the same files. Parsing is of the real train.csv,
which comes with torchxrayvision.
"""

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.compare import compare, largest_difference
from chexlib.data.images import Files
from chexlib.data.labels import FINDINGS, targets
from chexlib.data.packed import Pixels, pack

REAL = Path(__file__).parents[2] / "shared" / "data" / "nih1000" / "images"
SMALL, LARGE = (390, 320), (2828, 2320)  # CheXpert-v1.0-small and CheXpert-v1.0, width and height
IMAGES, LARGE_IMAGES, SIZE, BATCH, WORKERS = 1000, 60, 320, 16, 2
WORK = "CheXpert's train.csv, 223,414 rows"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHEXLIB_CACHE"] = f"{folder}/cache"
        small, large = made(Path(folder) / "small", SMALL, IMAGES), made(Path(folder) / "large", LARGE, LARGE_IMAGES)
        packing(small, f"{IMAGES} JPEGs of {SMALL[0]} x {SMALL[1]} to {SIZE} px")
        packing(large, f"{LARGE_IMAGES} JPEGs of {LARGE[0]} x {LARGE[1]} to {SIZE} px")
        loading(small)
    parsing()


def made(root: Path, shape: tuple[int, int], n: int) -> Files:
    """n JPEGs of this width and height in a folder of CheXpert's form."""
    names = [f"train/patient{i:05}/study1/view1_frontal.jpg" for i in range(n)]
    sources = sorted(REAL.rglob("*.png")) if REAL.is_dir() else phantoms(root.parent)

    def make(i: int) -> None:
        with Image.open(sources[i % len(sources)]) as image:
            pixels = np.asarray(image.convert("L").resize(shape, Image.Resampling.BICUBIC), dtype=np.float32)
        if shape == LARGE:  # enlarging leaves no detail to decode: a detector's noise
            pixels = pixels + 4 * np.random.default_rng(i).standard_normal(pixels.shape, np.float32)
        path = root / names[i]
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(make, range(n)))
    return Files(root, names)


def phantoms(folder: Path) -> list[Path]:
    from chexlib.data import phantom

    if not (folder / "phantom").is_dir():
        phantom.write(folder / "phantom", n=200, size=256, progress=False)
    return sorted((folder / "phantom" / "train").rglob("*.jpg"))


class PlainLoop(torch.utils.data.Dataset):
    """What most training code does for an image."""

    def __init__(self, files: Files):
        self.paths = [f"{files.root}/{name}" for name in files.names]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.paths[i]) as image:
            return torch.from_numpy(np.array(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)))


def packing(files: Files, work: str) -> None:
    plain, loader = files.root / "plain.npy", torch.utils.data.DataLoader(PlainLoop(files), BATCH, num_workers=WORKERS)

    def ours() -> Pixels:
        return pack(files.root, files, SIZE, progress=False)

    def peer() -> np.ndarray:
        pixels = np.lib.format.open_memmap(plain, "w+", np.uint8, (len(loader.dataset), SIZE, SIZE))
        for k, batch in enumerate(loader):
            pixels[k * BATCH : k * BATCH + len(batch)] = batch
        pixels.flush()
        return pixels

    def remove() -> None:
        shutil.rmtree(os.environ["CHEXLIB_CACHE"], ignore_errors=True)
        plain.unlink(missing_ok=True)

    def agree(a: Pixels, b: np.ndarray) -> float:
        difference = np.abs(a[:].astype(np.int16) - b)
        print(f"  pixels differ by at most {difference.max()} grey levels, {difference.mean():.3f} in the mean")
        return difference.max()

    peer_name = f"PIL in a DataLoader of {WORKERS} workers"
    compare("data pack", ours, peer, peer_name=peer_name, work=work, agree=agree, before=remove)


def loading(files: Files) -> None:
    """An epoch of shuffled batches; the last batch is compared."""
    pixels = pack(files.root, files, SIZE, progress=False)
    order = np.random.default_rng(0).permutation(len(pixels))
    work = f"{len(order)} images of {SIZE} px, shuffled, batches of {BATCH}, files in the page cache"

    def ours() -> np.ndarray:
        for start in range(0, len(order), BATCH):
            batch = pixels[order[start : start + BATCH]]
        return batch

    loader = torch.utils.data.DataLoader(
        PlainLoop(files), batch_size=BATCH, sampler=order.tolist(), num_workers=WORKERS, persistent_workers=True
    )

    def plain() -> np.ndarray:
        for batch in loader:  # noqa: B007 (the last one)
            pass
        return batch.numpy()

    compare("loading", ours, plain, peer_name=f"PIL in a DataLoader of {WORKERS} workers", work=work)

    if xrv := torchxrayvision():
        every = 10

        def theirs() -> np.ndarray:
            images = [dataset[i]["img"][0] for i in order[::-1][: len(order) // every]]
            return (np.array(images[: len(order) % BATCH or BATCH])[::-1] / 1024 + 1) / 2 * 255

        dataset = xrv.datasets.CheX_Dataset(
            str(files.root), chexpert_csv(files), unique_patients=False, transform=xrv.datasets.XRayResizer(SIZE)
        )
        compare("loading", ours, theirs, peer_name="torchxrayvision", work=work, share=1 / every, repeats=3)


def chexpert_csv(files: Files) -> str:
    rows = pd.DataFrame(
        {"Path": list(files.names), "Sex": "Male", "Age": 60, "Frontal/Lateral": "Frontal", "AP/PA": "PA"}
    )
    rows.assign(**dict.fromkeys(FINDINGS, 0)).to_csv(files.root / "train.csv", index=False)
    return str(files.root / "train.csv")


def torchxrayvision():
    """The package, or None where it is not installed."""
    if not importlib.util.find_spec("torchxrayvision"):
        print("  torchxrayvision is not installed: not compared")
        return None
    import torchxrayvision

    return torchxrayvision


def parsing() -> None:
    """From train.csv to targets; then the rows with a wrong one: other than the loader's own rule makes of its row."""
    if not (xrv := torchxrayvision()):
        return
    from chexlib.data.sources import read_label_file

    path = Path(xrv.__file__).with_name("data") / "chexpert_train.csv.gz"
    own = pd.read_csv(path).set_index("Path")  # as the file has it, one row an image

    def ours() -> pd.DataFrame:
        table = read_label_file(path).table
        return pd.DataFrame(targets(table[list(FINDINGS)].to_numpy(), "u-mixed", "absent")[0], own.index, FINDINGS)

    def theirs(**options) -> pd.DataFrame:
        dataset = xrv.datasets.CheX_Dataset("", str(path), **options)
        columns = ["Pleural Effusion" if name == "Effusion" else name for name in dataset.pathologies]
        return pd.DataFrame(dataset.labels, dataset.csv["Path"], columns)

    def libauc(**options) -> pd.DataFrame:
        from libauc.datasets import CheXpert

        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            dataset = CheXpert(str(path), image_root_path=" ", class_index=-1, **options)
        columns = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"]
        return pd.DataFrame(np.array(dataset.targets), "CheXpert-v1.0-small/" + dataset.df["Path"], columns)

    def mentioned(a: pd.DataFrame, b: pd.DataFrame) -> float:
        """The largest difference where the file says 1 or 0."""
        said = own.loc[b.index, b.columns].isin([0, 1]).to_numpy()
        return largest_difference(a.loc[b.index, b.columns].to_numpy()[said], b.to_numpy()[said])

    def mixed(rows: pd.DataFrame) -> pd.DataFrame:
        """Uncertain is 1 for Edema and Atelectasis, else 0; empty is 0."""
        ones = rows.columns.isin(["Edema", "Atelectasis"]).astype(float)
        return rows.where(rows != -1, np.broadcast_to(ones, rows.shape)).fillna(0)

    def unknown(rows: pd.DataFrame) -> pd.DataFrame:
        """Uncertain and empty are unknown; but empty is 0 in an image without finding, support devices aside."""
        rows = rows.replace(-1, np.nan)
        healthy = (own.loc[rows.index, "No Finding"] == 1).to_numpy()[:, None] & (rows.columns != "Support Devices")
        return rows.mask(healthy & rows.isna(), 0)

    every_row = {"views": ["PA", "AP", "L", "LL", "RL"], "unique_patients": False}
    loaders = [("chexlib", ours, {}, mixed), ("torchxrayvision, as it comes", theirs, {}, unknown)]
    compare("train.csv", ours, lambda: theirs(**every_row), peer_name="torchxrayvision", work=WORK, agree=mentioned)
    if importlib.util.find_spec("libauc"):
        every_row = {"use_frontal": False, "use_upsampling": False, "shuffle": False}
        compare("train.csv", ours, lambda: libauc(**every_row), peer_name="libauc", work=WORK, agree=mentioned)
        loaders += [("libauc, as it comes", libauc, {}, mixed), ("libauc, every row once", libauc, every_row, mixed)]
    else:
        print("  libauc is not installed: not compared (make bench installs it)")
    print(f"  the table takes {read_label_file(path).table.memory_usage(deep=True).sum() / len(own):.0f} bytes a row")
    for name, load, options, rule in loaders:
        found = load(**options)
        meant = rule(own.loc[found.index, found.columns])
        wrong = ~((found == meant) | (found.isna() & meant.isna())).all(axis=1)
        print(f"  {name}: {wrong.sum():,} of {len(wrong):,} rows have a wrong label ({wrong.mean():.1%})")
