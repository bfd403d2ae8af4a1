"""Fixtures that many tests share: a cache of their own, study smoke and its notebooks, made once, and a browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.register_profile("searching", deadline=None, max_examples=20_000)  # --hypothesis-profile=searching
settings.load_profile("unhurried")

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test waits for a network

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """Nothing that a test packs or draws reaches the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CHEXLIB_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def nih1000() -> Path:
    """Real X-rays, where this machine has them."""
    folder = SHARED / "nih1000"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory) -> Path:
    """A small CheXpert-shaped folder."""
    from chexlib.data import phantom

    folder = tmp_path_factory.mktemp("data") / "phantom"
    phantom.write(folder, n=64, n_valid=24, n_test=48, size=48, seed=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run store of a module's own, for those that need no more."""
    from chexlib.runs.store import RunStore

    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def smoke_store(cache, tmp_path_factory):
    """The run store in which study smoke has been trained through the command that users type."""
    from chexlib.cli import main
    from chexlib.runs.store import RunStore

    folder = tmp_path_factory.mktemp("smoke") / "runs"
    assert main(["study", "run", "smoke", "--runs", str(folder)]) == 0
    return RunStore(folder)


@pytest.fixture(scope="session")
def smoke_notebooks(smoke_store, tmp_path_factory) -> Path:
    """The folder of the notebooks executed for study smoke."""
    from chexpaper.build.notebooks import run_notebooks

    folder = tmp_path_factory.mktemp("executed")
    run_notebooks("smoke", runs=smoke_store.folder, out=folder, progress=False)
    return folder


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium: Debian's, or the one that Playwright installed."""
    from playwright.sync_api import Error, sync_playwright

    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        except Error as error:
            pytest.skip(f"no Chromium to open the book with: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()
