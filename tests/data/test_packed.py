"""The packed cache: what it holds, and what becomes of it when processes die, disks fill and files change."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexlib.cli import main
from chexlib.data import packed
from chexlib.data.dataset import open_dataset
from chexlib.data.images import BadImage, Files
from chexlib.data.packed import pack
from chexlib.errors import UserError


@dataclass
class Drawn:
    """Images whose pixels are known: image i is i everywhere, but for its first row, which counts."""

    n: int = 40
    name: str = "image"
    time: int = 0
    bad: tuple[int, ...] = ()
    read_rows: list[int] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [f"{self.name}{i}" for i in range(self.n)]

    def stamp(self, i: int) -> str:
        return f"{self.name}{i}:{self.time}"

    def read(self, i: int, size: int) -> np.ndarray:
        self.read_rows.append(i)
        if i in self.bad:
            raise BadImage(self.names[i], "half of it is missing")
        return drawn(i, size)


def drawn(i: int, size: int) -> np.ndarray:
    pixels = np.full((size, size), i, np.uint8)
    pixels[0] = np.arange(size)
    return pixels


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data set's folder, with a cache of its own, written four images at a time."""
    monkeypatch.setenv("CHEXLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packed, "CHUNK", 4)
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def packs(root: Path) -> set[str]:
    """The caches that are there, whole or partial."""
    return {path.name for path in (root.parent / "cache" / "packed").iterdir() if path.suffix != ".lock"}


def packed_quietly(root: Path, images: Drawn, size: int = 6, **options):
    return pack(root, images, size, progress=False, **options)


def assert_whole(pixels, n=40, size=6):
    """The images of Drawn in their order, under the hash of their pixels."""
    whole = np.array([drawn(i, size) for i in range(n)])
    assert pixels.shape == whole.shape
    np.testing.assert_array_equal(pixels[:], whole)
    assert pixels.sha256 == hashlib.sha256(whole).hexdigest()


def test_images_are_in_their_order_and_decoded_once(root):
    again = Drawn(41)
    for images in (Drawn(41), again):
        assert_whole(packed_quietly(root, images), 41)
    assert not again.read_rows
    assert len(packs(root)) == 1  # nothing partial


def test_pixels_are_indexed_like_an_array_and_copied(root):
    pixels = packed_quietly(root, Drawn())
    whole = np.array([drawn(i, 6) for i in range(40)])
    for rows in (3, np.int64(3), -1, [5, 2, 2], slice(2, 9, 3), np.arange(40) % 7 == 0):
        np.testing.assert_array_equal(pixels[rows], whole[rows])
    pixels[3][:] = 0
    np.testing.assert_array_equal(pixels[3], whole[3])
    some = pixels.at(np.array([9, 4, 30]))
    np.testing.assert_array_equal(some[[2, 0]], whole[[30, 9]])
    with pytest.raises(IndexError):
        some[3]


def test_pixels_are_packed_once_and_follow_the_rows(phantom_folder):
    first, second = (open_dataset("phantom", phantom_folder, size=48, progress=False) for _ in range(2))
    assert first.pixels.folder == second.pixels.folder
    row = first.rows("test")[-1]
    with Image.open(phantom_folder / first.table["image"].iat[row]) as image:
        np.testing.assert_array_equal(first.pixels[row], np.asarray(image.convert("L")))


@pytest.mark.parametrize("size", [0, -1, 4097])
def test_an_absurd_size_is_refused(root, size, refused):
    assert "choose 1 to 4096" in refused(packed_quietly, root, Drawn(), size)
    assert main(["data", "pack", "phantom", "--size", str(size)]) == 2


# Killed, continued.

SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_packed import Drawn
from chexlib.data import packed
from chexlib.data.packed import pack
packed.CHUNK = 4
class Slow(Drawn):
    def read(self, i, size):
        time.sleep(0.01 if i < 16 else 60)
        return super().read(i, size)
pack(Path({root!r}), Slow(), 6, progress=False)
"""


@pytest.fixture
def killed(root):
    """A pack of 40 images whose process was killed with -9 after at least 12; what it left."""
    code = SLOW.format(tests=str(Path(__file__).parent), root=str(root))
    process = subprocess.Popen([sys.executable, "-c", code])
    journal = None
    while journal is None or journal.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
        journal = next((root.parent / "cache" / "packed").glob(".set-*/journal.jsonl"), None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return journal.parent


def test_a_killed_pack_goes_on_where_it_was(root, killed):
    images = Drawn()
    pixels = packed_quietly(root, images)
    assert 0 < len(set(images.read_rows)) == len(images.read_rows) <= 28
    assert min(images.read_rows) == 40 - len(images.read_rows)
    assert_whole(pixels)
    assert packs(root) == {pixels.folder.name}


@pytest.mark.parametrize("harm", ["pixel", "torn line", "no pixels", "no journal", "header"])
def test_what_is_damaged_of_a_killed_pack_is_made_again(root, killed, harm):
    path, journal = killed / "pixels.npy", killed / "journal.jsonl"
    content, lines = bytearray(path.read_bytes()), journal.read_bytes().splitlines(keepends=True)
    content[128 + 5 * 36 if harm == "pixel" else 20] ^= 1  # of image 5, in the second chunk, or of the header
    {
        "torn line": lambda: journal.write_bytes(b"".join(lines[:1]) + lines[1][:20]),
        "no pixels": path.unlink,
        "no journal": journal.unlink,
        "pixel": lambda: path.write_bytes(content),
        "header": lambda: path.write_bytes(content),
    }[harm]()
    images = Drawn()
    pixels = packed_quietly(root, images)
    assert sorted(images.read_rows) == list(range(4 if harm in ("pixel", "torn line") else 0, 40))
    assert_whole(pixels)


def test_a_full_disk_is_one_line_and_what_was_written_is_kept(root, phantom_folder):
    """As full as a process sees it whose files may not grow beyond 200 kB; the phantom's pixels need more."""
    limited = """
import resource, sys
from chexlib.cli import main
from chexlib.data import packed
packed.CHUNK = 16
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""
    command = ["data", "pack", "phantom", "--data", str(phantom_folder), "--size", "48"]
    result = subprocess.run([sys.executable, "-c", limited, *command], capture_output=True, text=True)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert "File too large" in line and "CHEXLIB_CACHE" in line and "goes on from there" in line
    (partial,) = packs(root)
    assert partial.startswith(".phantom-48-")
    journal = root.parent / "cache" / "packed" / partial / "journal.jsonl"
    assert sum(json.loads(line)["images"] for line in journal.read_text().splitlines()) == 80

    assert main(command) == 0
    pixels = open_dataset("phantom", phantom_folder, size=48, progress=False).pixels
    assert packs(root) == {pixels.folder.name}
    assert pixels.sha256 == hashlib.sha256(pixels[:]).hexdigest()


def test_a_disk_that_is_too_small_is_said_before_anything_is_decoded(root, monkeypatch, refused):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 0, 1000))
    images = Drawn()
    assert "are needed" in refused(packed_quietly, root, images)
    assert not images.read_rows


def test_a_cache_that_cannot_be_written_is_one_line(root, refused):
    (root.parent / "cache").write_text("a file")
    assert "CHEXLIB_CACHE" in refused(packed_quietly, root, Drawn())


# Two at once.


def test_a_second_pack_waits_for_the_first_and_takes_its_cache(root, capsys):
    begun, go_on = threading.Event(), threading.Event()

    class Waiting(Drawn):
        def read(self, i, size):
            begun.set()
            assert go_on.wait(20)
            return super().read(i, size)

    found, second = [], Drawn()
    threads = [
        threading.Thread(target=lambda im=im: found.append(packed_quietly(root, im))) for im in (Waiting(), second)
    ]
    threads[0].start()
    assert begun.wait(20)
    threads[1].start()
    said = ""
    while "another process is packing" not in said:
        assert threads[1].is_alive()
        time.sleep(0.01)
        said += capsys.readouterr().err
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert found[0].folder == found[1].folder and not second.read_rows
    assert packs(root) == {found[0].folder.name}


# Other files, other code, damage.


def test_a_cache_of_changed_files_is_replaced(root):
    old = packed_quietly(root, Drawn())
    other_size, other_names = packed_quietly(root, Drawn(), 7), packed_quietly(root, Drawn(name="other"))
    new = packed_quietly(root, Drawn(time=1))
    assert new.folder != old.folder
    assert packs(root) == {pixels.folder.name for pixels in (new, other_size, other_names)}
    np.testing.assert_array_equal(old[7], drawn(7, 6))  # whoever has it open keeps it


def test_a_cache_from_an_older_version_is_replaced(root, monkeypatch):
    old, images = packed_quietly(root, Drawn()), Drawn()
    monkeypatch.setattr(packed, "PACK_VERSION", packed.PACK_VERSION + 1)
    new = packed_quietly(root, images)
    assert len(images.read_rows) == 40
    assert packs(root) == {new.folder.name} != {old.folder.name}


@pytest.mark.parametrize("harm", ["shorter", "longer", "empty", "header", "journal", "no journal", "no pixels"])
def test_a_cache_that_is_visibly_damaged_is_made_again(root, harm):
    folder = packed_quietly(root, Drawn()).folder
    path, journal = folder / "pixels.npy", folder / "journal.jsonl"
    content = path.read_bytes()
    {
        "shorter": lambda: path.write_bytes(content[:-1]),
        "longer": lambda: path.write_bytes(content + b"0"),
        "empty": lambda: path.write_bytes(b""),
        "header": lambda: path.write_bytes(b"PK" + content[2:]),
        "journal": lambda: journal.write_text("{"),
        "no journal": journal.unlink,
        "no pixels": path.unlink,
    }[harm]()
    pixels = packed_quietly(root, Drawn())
    assert_whole(pixels)
    assert packs(root) == {folder.name}


def test_verify_finds_one_wrong_pixel_and_mends_it(root, capsys):
    folder, images = packed_quietly(root, Drawn()).folder, Drawn()
    packed_quietly(root, images, verify=True)
    assert not images.read_rows and capsys.readouterr().err == ""
    content = bytearray((folder / "pixels.npy").read_bytes())
    content[-9 * 36] ^= 4  # of image 31, in the chunk that begins with 28
    (folder / "pixels.npy").write_bytes(content)
    pixels = packed_quietly(root, images, verify=True)
    assert "damaged after 28 images" in capsys.readouterr().err
    assert sorted(images.read_rows) == list(range(28, 40))
    assert_whole(pixels)


# Images that cannot be decoded.


def test_a_bad_image_stops_packing_and_what_went_before_is_kept(root, refused):
    message = refused(packed_quietly, root, Drawn(bad=(9, 30)))
    assert f"{root}/image9: cannot be decoded (half of it is missing)" in message and "--skip-bad" in message
    images = Drawn(bad=(9, 30))
    packed_quietly(root, images, skip_bad=True)
    assert min(images.read_rows) == 8


def test_skipped_images_are_listed_and_zeros(root):
    pixels = packed_quietly(root, Drawn(bad=(9, 30)), skip_bad=True)
    assert pixels.bad == {9: "half of it is missing", 30: "half of it is missing"}
    with open(pixels.folder / "bad_images.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["image", "reason"], *([f"image{i}", "half of it is missing"] for i in (9, 30))]
    assert not pixels[[9, 30]].any()
    np.testing.assert_array_equal(pixels[31], drawn(31, 6))
    assert packed_quietly(root, Drawn()).bad == pixels.bad  # whoever opens it later
    assert packed_quietly(root, Drawn(bad=(9, 30)), verify=True).sha256 == pixels.sha256


def test_a_damaged_cache_with_skipped_images_is_mended_without_being_asked_to_skip(root):
    folder = packed_quietly(root, Drawn(bad=(9, 30)), skip_bad=True).folder
    (folder / "pixels.npy").write_bytes((folder / "pixels.npy").read_bytes()[:-1])
    assert sorted(packed_quietly(root, Drawn(bad=(9, 30))).bad) == [9, 30]


def test_a_set_of_nothing_but_bad_images_is_refused(root, refused):
    assert "cannot be decoded" in refused(packed_quietly, root, Drawn(bad=tuple(range(40))), skip_bad=True)


def test_a_truncated_image_is_named_then_skipped_and_out_of_every_table(phantom_folder, root, capsys):
    copy = shutil.copytree(phantom_folder, root.parent / "copy")
    image = sorted((copy / "train").rglob("*.jpg"))[3]
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(UserError, match=rf"{re.escape(str(image))}: cannot be decoded .* --skip-bad"):
        open_dataset("phantom", copy, size=48, progress=False)

    assert main(["data", "pack", "phantom", "--data", str(copy), "--size", "48", "--skip-bad", "--verify"]) == 0
    said = capsys.readouterr().out.splitlines()
    whole = open_dataset("phantom", phantom_folder, size=48, progress=False)
    assert "1 images cannot be decoded" in said[0] and "bad_images.csv" in said[0]
    assert f"{len(whole.table) - 1} images at 48 px in {root.parent / 'cache'}" in said[-1]

    dataset = open_dataset("phantom", copy, size=48, progress=False)
    kept = ~whole.table["image"].eq(str(image.relative_to(copy))).to_numpy()
    assert list(dataset.table["image"]) == list(whole.table["image"][kept])
    np.testing.assert_array_equal(dataset.pixels[:], whole.pixels[np.flatnonzero(kept)])
    np.testing.assert_array_equal(dataset.labels, whole.labels[kept])
    images = dataset.flow.groupby("step", sort=False)["images"].sum()
    assert images.to_dict() == {"listed": len(kept), "readable": len(kept) - 1}


# Memory.

READ_ALL = """
import sys
from pathlib import Path
from benchmarks.loader import anonymous_growth
print(*(anonymous_growth(Path(sys.argv[1]) / str(n), n, 16) for n in (1600, 2_000, 200_000)))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc to read memory from")
def test_anonymous_memory_does_not_grow_with_the_number_of_images(tmp_path):
    command, project = [sys.executable, "-c", READ_ALL, str(tmp_path)], Path(__file__).parents[2]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    _, few, many = map(int, result.stdout.split())  # kB; the first reading warms up
    assert many - few < 2000  # all pixels would be 51,200 kB


def test_links_that_lead_out_of_the_folder_are_said_once(root, capsys):
    for name in ("a.png", "b.png", "../c.png"):
        Image.new("L", (8, 8), 50).save(root / name)
    (root / "c.png").symlink_to("../c.png")
    (root / "d.png").symlink_to("a.png")
    for names, said in ((["a.png", "b.png", "d.png"], 0), (["a.png", "c.png"], 1), (["a.png", "c.png"], 0)):
        packed_quietly(root, Files(root, names))
        assert capsys.readouterr().err.count("c.png") == said
