"""One run by several processes, a GPU each: Accelerate shares the work, this starts the processes and ends them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable

import torch.multiprocessing

from chexlib.errors import UserError


def run(train: Callable, processes: int, *arguments) -> None:
    """train(*arguments), by so many processes at once. Raises UserError where a process does, or ends by itself."""
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise UserError(f"processes={processes}: this machine has {torch.cuda.device_count()} GPUs")
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        torch.multiprocessing.spawn(_one, (train, processes, _free_port(), errors, arguments), processes)
    except torch.multiprocessing.ProcessExitedException as error:
        line = errors.get() if not errors.empty() else f"one of {processes} processes died ({error})"
        raise UserError(line) from None


def _one(rank: int, train: Callable, processes: int, port: int, errors, arguments: tuple) -> None:
    _end_with_parent()
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # until the spec's threads are set
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        train(*arguments)
    except UserError as error:
        errors.put(str(error))
        os._exit(1)  # the others wait for this one, and are ended by the parent


def _end_with_parent() -> None:
    """Lets this process end when the one that started it does: it would go on unseen, and hold a GPU."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
