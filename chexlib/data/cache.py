"""Where made data are kept, and how only one process at a time makes them."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chexlib.errors import UserError


def cache_folder() -> Path:
    """CHEXLIB_CACHE, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("CHEXLIB_CACHE") or f"{home}/chexlib").expanduser()


@contextmanager
def exclusive(path: Path, busy: str = "another process is at work on it") -> Iterator[None]:
    """Holds the lock file, waiting where it must and saying so; the operating system frees it when its owner ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            lock = open(path, "w")  # noqa: SIM115 (kept open for as long as it is held)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"chexlib: {busy}: waiting for it", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    break
            lock.close()  # its owner has removed it meanwhile: a newer file is the lock now
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: set CHEXLIB_CACHE to a folder that can be written") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.close()
