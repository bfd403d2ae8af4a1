"""What kills, full disks, damaged files and second processes cost: no finished run, no evaluation, no digit.

The commands are those that users type. Most run in processes forked from one that has imported torch; some are started
as from a shell.
"""

import contextlib
import itertools
import json
import math
import multiprocessing
import os
import random
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from chexlib.cli import main
from chexlib.models import create_model
from chexlib.runs.store import Run
from chexlib.study.one import PRELOAD

SPEC = ("arch=mnasnet", "minus=3", "size=32", "batch_size=8", "lr=0.001", "keep=2")  # small, with batch norm
SPEC += ("augment={rotation: 10, crop: 0.8, jitter: 0.2, flip: 0.5}",)
LONG = (*SPEC, "epochs=2", "eval_every=16")  # eight evaluations
SHORT = (*SPEC, "epochs=1", "eval_every=24")  # three
EVERY = {"seconds", "images_per_second", "memory_mb", "resumed"}
"""What of a log's row an interruption changes."""

KILLS = 10


def _main(arguments: list[str], out: Path, before) -> None:
    """One command in a process of its own, with what it prints in a file."""
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if before:
        before()
    sys.exit(main(arguments))


def forked(arguments: list[str], out: Path, before=None):
    """Starts a command at once, after `before` has prepared its process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_main, args=(arguments, out, before))
    process.start()
    return process


def typed(arguments: list[str], out: Path) -> subprocess.Popen:
    """Starts a command as a shell does, in a process group of its own."""
    command = [sys.executable, "-m", "chexlib.cli", *arguments]
    with open(out, "w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, preexec_fn=_hear_ctrl_c)


def _hear_ctrl_c() -> None:
    """What was started in the background, as these tests may be, ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(process, seconds: float = 180) -> int:
    """The exit code of a process that must end by itself; below 0, the signal that ended it."""
    if isinstance(process, subprocess.Popen):
        return process.wait(seconds)
    process.join(seconds)
    assert process.exitcode is not None, f"still there after {seconds} s"
    return process.exitcode


def alive(process) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()


def kill(process) -> bool:
    """As kill -9 does; False where it had ended by itself."""
    process.kill()
    return ended(process) == -signal.SIGKILL


def until(true, *processes, seconds: float = 180, pause: float = 0.005) -> None:
    """Waits for something to become true, or for one of the processes to end."""
    last = time.monotonic() + seconds
    while not true() and all(map(alive, processes)):
        assert time.monotonic() < last, f"not so after {seconds} s"
        time.sleep(pause)


def said(out: Path) -> str:
    """The one line of an error; progress is left out."""
    text = out.read_text()
    lines = [line for line in re.split(r"[\r\n]+", text) if line.startswith("chexlib: ")]
    assert "Traceback" not in text and len(lines) == 1, text
    return lines[0]


def refused(process, out: Path) -> str:
    """The line with which a command ends that cannot go on."""
    assert ended(process) == 2, out.read_text()
    return said(out)


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file is written anew; None where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino, path.stat().st_mtime_ns
    return None


def evaluations(run: Run) -> int:
    """How many evaluations the newest state to resume from has behind it."""
    if not (run.folder / "spec.json").exists():
        return 0
    states = [int(path.stem.removeprefix("resume")) for path in run.checkpoints.glob("resume*.safetensors")]
    return math.ceil(max(states, default=0) / run.spec.eval_every)


def files(run: Run) -> set[str]:
    """All that a run leaves behind, but for TensorBoard's files, of which each start makes one."""
    paths = (path.relative_to(run.folder) for path in run.folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] != "tensorboard"}


def learned(run: Run) -> list[dict]:
    rows = map(json.loads, (run.folder / "log.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in EVERY} for row in rows]


def assert_same(run: Run, whole: Run) -> None:
    """Two runs differ in nothing but times, bit for bit."""
    assert files(run) == files(whole)
    assert (run.folder / "predictions.parquet").read_bytes() == (whole.folder / "predictions.parquet").read_bytes()
    assert learned(run) == learned(whole)
    for path in whole.checkpoints.glob("*.safetensors"):
        ours, its = load_file(run.checkpoints / path.name), load_file(path)
        assert ours.keys() == its.keys() and all(torch.equal(ours[name], its[name]) for name in its)


def train(spec: tuple[str, ...], data: Path, runs: Path) -> list[str]:
    """The arguments of a training."""
    return ["train", *spec, "--data", str(data), "--runs", str(runs)]


@dataclass
class Training:
    """One command, and the run that it makes in any store."""

    spec: tuple[str, ...]
    data: Path
    folder: Path
    whole: Run = None  # trained without interruption
    marks: list[float] = field(default_factory=list)  # when it began, had made each evaluation, and ended

    def __post_init__(self):
        started = time.monotonic()
        process = self.start("whole", forked)
        while alive(process):
            self.whole = self.whole or next(map(Run, (self.folder / "whole").glob("phantom*")), None)
            if self.whole and evaluations(self.whole) >= len(self.marks):
                self.marks.append(time.monotonic() - started)
            time.sleep(0.002)
        self.marks.append(time.monotonic() - started)
        assert ended(process) == 0, self.out("whole").read_text()

    def out(self, store: str) -> Path:
        return self.folder / f"{store}.txt"

    def start(self, store: str, by, *more):
        return by(train(self.spec, self.data, self.folder / store), self.out(store), *more)

    def run(self, store: str) -> Run:
        return Run(self.folder / store / self.whole.run_id)

    def interrupted(self, store: str, evaluations_done: int) -> Run:
        """A run that was killed after so many evaluations."""
        run = self.run(store)
        process = self.start(store, forked)
        until(lambda: evaluations(run) >= evaluations_done, process)
        assert kill(process)
        return run

    def finish(self, store: str) -> Run:
        """The same command again, left alone."""
        assert ended(self.start(store, forked)) == 0, self.out(store).read_text()
        return self.run(store)


@pytest.fixture(scope="module")
def long(phantom_folder, tmp_path_factory) -> Training:
    return Training(LONG, phantom_folder, tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def short(phantom_folder, tmp_path_factory) -> Training:
    return Training(SHORT, phantom_folder, tmp_path_factory.mktemp("short"))


def test_ten_kills_at_random_moments_cost_no_evaluation_and_no_digit(long):
    """Aimed at the tenths of a run's whole life, from its start to its last file, one after the other."""
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    begin, *made, end = long.marks
    kills, lives, pace = 0, ["random-0"], 1.0
    kept: dict[str, list] = {}
    while kills < KILLS:
        run, shell = long.run(lives[-1]), kills in (0, 6)
        log, spec = run.folder / "log.jsonl", run.folder / "spec.json"
        done, rows, was = evaluations(run), len(kept.get(lives[-1], [])), stamp(spec)
        process = long.start(lives[-1], typed if shell else forked)
        if kills == 0:
            time.sleep(draw.uniform(0, 1.5))  # an interpreter that imports torch
        else:
            until(lambda: stamp(spec) != was, process)  # noqa: B023 (called at once)
            moment = begin + (end - begin) * (kills + draw.random()) / KILLS
            begun = made[done - 1] if done else begin
            time.sleep(pace * max(moment - begun, draw.uniform(0, made[0] - begin)))
        if not kill(process):  # it was quicker than the one that was measured
            assert ended(process) == 0, long.out(lives[-1]).read_text()
            assert_same(run, long.whole)
            lives.append(f"random-{len(lives)}")
            pace *= 0.7
            assert len(lives) < KILLS
            continue
        kills += 1
        assert evaluations(run) >= done
        now = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        now = [row for row in now if row["event"] == "eval"]
        assert len(now) >= rows and evaluations(run) >= len(now) - 1
        kept[lives[-1]] = now[: evaluations(run)]
        print(f"kill {kills}: {len(now)} evaluations in {lives[-1]}")
    run = long.finish(lives[-1])
    assert_same(run, long.whole)
    for life, rows in kept.items():  # their times, too: they were not made again
        assert long.run(life).log()[: len(rows)] == rows
    was = {path: stamp(path) for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    long.finish(lives[-1])  # once more: nothing is done
    assert {path: stamp(path) for path in was} == was


def _dies_at(n: int) -> None:
    """Has this process die as by kill -9 before it puts the n-th file into its place, or removes it."""
    count = itertools.count(1)

    def counted(function):
        def call(*args, **kwargs):
            if next(count) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    os.replace, os.unlink = counted(os.replace), counted(os.unlink)


def test_a_kill_before_any_file_is_in_its_place_costs_no_digit(short):
    """From the second evaluation's state on: at the first file, then at the second ..., and so on to the end."""
    run, kills, n, before = short.interrupted("step", 2), 0, 1, 2
    while ended(short.start("step", forked, partial(_dies_at, n))) != 0:
        kills += 1
        done = 4 if run.finished else evaluations(run)
        n, before = (n + 1, before) if done == before else (1, done)
        assert kills < 40, short.out("step").read_text()
    assert kills >= 12  # spec, weights, log, state, what is removed; spec, predictions, log, provenance, done ...
    assert_same(run, short.whole)


def test_dropout_draws_after_a_kill_what_it_would_have_drawn(phantom_folder, tmp_path):
    network = create_model("nasnetamobile", init="random", seed=0).train()
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(network(images), network(images))  # the one of our networks that drops anything
    spec = ("arch=nasnetamobile", "size=32", "batch_size=32", "epochs=1", "eval_every=32", "keep=1")
    training = Training(spec, phantom_folder, tmp_path)
    training.interrupted("killed", 1)
    assert_same(training.finish("killed"), training.whole)


def _small_files(size: int) -> None:
    """Lets this process write no file of more bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_cannot_be_written_is_one_line_and_the_same_command_goes_on(short):
    run = short.interrupted("limited", 1)
    before = files(run)
    line = refused(short.start("limited", forked, partial(_small_files, 500_000)), short.out("limited"))
    assert re.search(r"\.safetensors: File too large: free some space or choose another folder", line)
    assert files(run) <= before and evaluations(run) == 1
    assert_same(short.finish("limited"), short.whole)


FULL = """
mount -t tmpfs -o size=$SIZE tmpfs "$1" || exit 77
shift
"$@"
code=$?
umask 000
cp -r "$FROM/." "$TO"
exit $code
"""


def test_a_disk_that_is_full_is_one_line_and_the_same_command_goes_on(short, tmp_path):
    """A real one, where the system lets us mount it: the first checkpoint fits, the second does not."""
    disk, kept = tmp_path / "disk", short.folder / "full"
    disk.mkdir()
    kept.mkdir()
    state, weights = (
        sum(path.stat().st_size for path in short.whole.checkpoints.glob("images*")) / 2 * factor for factor in (3, 1)
    )
    size = int(state + weights * 2.5)  # a state and the weights of two evaluations, and no second state
    command = [sys.executable, "-m", "chexlib.cli", *train(short.spec, short.data, disk)]
    wrapped = ["unshare", "-rm", "sh", "-c", FULL, "sh", str(disk), *command]
    with open(short.out("full"), "w") as out:
        environment = os.environ | {"SIZE": str(size), "FROM": str(disk), "TO": str(kept)}
        try:
            code = subprocess.run(wrapped, stdout=out, stderr=out, env=environment, check=False).returncode
        except FileNotFoundError:
            pytest.skip("there is no unshare")
    if code in (1, 77):
        pytest.skip("this system lets us mount nothing")
    assert code == 2, short.out("full").read_text()
    assert "No space left on device: free some space or choose another folder" in said(short.out("full"))
    run = short.run("full")
    assert evaluations(run) == 1
    assert not [name for name in files(run) if re.search(r"/?\..*\.\d", name)]  # nothing half-written
    assert_same(short.finish("full"), short.whole)


def test_a_store_that_cannot_be_made_is_one_line(short, tmp_path):
    (tmp_path / "file").write_text("")
    process = forked(train(SHORT, short.data, tmp_path / "file" / "runs"), tmp_path / "out.txt")
    assert "choose another folder with CHEXLIB_RUNS" in refused(process, tmp_path / "out.txt")


def flipped(content: bytes) -> bytes:
    """One bit in the middle."""
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


DAMAGES = {
    "nothing": lambda content: b"",
    "garbage": lambda content: random.Random(0).randbytes(len(content)),
    "flipped": flipped,
    "position": lambda content: content.replace(b'\\"images\\": 48', b'\\"images\\": 40'),  # how far training was
    "name": lambda content: content.replace(b'\\"images\\"', b'\\"imagez\\"'),
}


@pytest.fixture(scope="module")
def stopped(short) -> Run:
    """Killed after its second evaluation, with two states to resume from."""
    run = short.interrupted("stopped", 2)
    assert len(list(run.checkpoints.glob("resume*"))) == 2
    return run


@pytest.mark.parametrize("damages", ["nothing", "garbage flipped", "position", "name"])
def test_a_damaged_state_is_never_believed(damages, short, stopped):
    """The newest, then the one before it; where both are damaged, it begins anew."""
    store = damages.replace(" ", "-")
    shutil.copytree(stopped.folder, short.run(store).folder)
    states = sorted(short.run(store).checkpoints.glob("resume*"), reverse=True)
    for damage, path in zip(damages.split(), states, strict=False):
        content = path.read_bytes()
        path.write_bytes(DAMAGES[damage](content))
        assert path.read_bytes() != content
    assert_same(short.finish(store), short.whole)
    lines = [line for line in short.out(store).read_text().splitlines() if line.startswith("chexlib: ")]
    assert [Path(line.split(": ")[1]) for line in lines] == states[: len(damages.split())]


def test_damaged_files_of_an_unfinished_run_are_written_anew(short, stopped):
    run = short.run("damaged")
    shutil.copytree(stopped.folder, run.folder)
    for path in (run.folder / "spec.json", run.folder / "log.jsonl"):
        path.write_bytes(path.read_bytes()[:-20])
    assert_same(short.finish("damaged"), short.whole)


def _diverges_after(folder: Path, evaluated: int) -> None:
    """Makes the loss no number once the run has been evaluated so often."""
    from chexlib.training import losses

    loss = losses.masked_cross_entropy

    def diverges(logits, *rest):
        [run] = map(Run, folder.glob("phantom*"))
        return logits.sum() * float("nan") if evaluations(run) >= evaluated else loss(logits, *rest)

    losses.masked_cross_entropy = diverges


def test_a_loss_that_is_no_number_stops_at_its_batch_each_time_and_keeps_the_last_checkpoint(short):
    store, run, lines, states = "diverged", short.run("diverged"), [], []
    for _ in range(2):
        process = short.start(store, forked, partial(_diverges_after, short.folder / store, 2))
        lines.append(refused(process, short.out(store)))
        states.append({path.name: path.read_bytes() for path in run.checkpoints.iterdir()})
    assert lines[0] == lines[1] and states[0] == states[1]
    assert re.search(r"loss is nan on the batch train/patient\S+(, train/\S+){7}: lower the learning rate", lines[0])
    assert evaluations(run) == 2
    assert_same(short.finish(store), short.whole)  # of a loss that is mended


def test_a_network_that_predicts_no_numbers_is_one_line(phantom_folder, tmp_path):
    """Where the last loss of a stretch was still a number, and the step after it went too far."""
    spec = (*(field for field in SPEC if field != "lr=0.001"), "epochs=1", "eval_every=8", "lr=1000")
    process = forked(train(spec, phantom_folder, tmp_path), tmp_path / "out.txt")
    assert "lower the learning rate" in refused(process, tmp_path / "out.txt")


def test_a_second_process_is_refused_until_the_first_is_killed(short):
    run = short.run("locked")
    first = short.start("locked", forked)
    until(lambda: run.folder.is_dir() and run.locked, first)
    os.kill(first.pid, signal.SIGSTOP)  # it holds its lock for as long as we look
    out = short.folder / "second.txt"
    line = refused(forked(train(SHORT, short.data, run.folder.parent), out), out)
    assert f"{run.folder}: another process is training this run: wait for it or stop it" in line
    assert kill(first)
    assert_same(short.finish("locked"), short.whole)


def test_sigterm_ends_a_run_promptly_and_the_same_command_goes_on(short):
    run = short.run("terminated")
    process = short.start("terminated", forked)
    until(lambda: evaluations(run) >= 1, process)
    process.terminate()
    assert ended(process, seconds=10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    rows = run.log()[: evaluations(run)]
    assert short.finish("terminated").log()[: len(rows)] == rows
    assert_same(run, short.whole)


STUDY = """
common: {arch: mnasnet, minus: 3, dataset: phantom, size: 32, batch_size: 8, lr: 0.001, keep: 1}
runs:
  - {seed: 0, epochs: 1, eval_every: 64}
  - {seed: [1, 2], epochs: 40, eval_every: 64}
"""


@pytest.fixture
def study(tmp_path, phantom_folder):
    """A study of a short run and two long ones, cut short by `epochs`: the arguments, and its runs."""

    def make(epochs: int) -> list[str]:
        (tmp_path / "tiny.yaml").write_text(STUDY.replace("40", str(epochs)))
        arguments = ["study", "run", str(tmp_path / "tiny.yaml"), "--workers", "2"]
        return [*arguments, "--data", str(phantom_folder), "--runs", str(tmp_path / "runs")]

    return make


def begun(folder: Path) -> list[Run]:
    return [Run(path) for path in folder.glob("phantom*")]


def family(process) -> list[psutil.Process]:
    """The process, and all that it has started."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all end within so many seconds; what nobody has waited for has ended, too."""

    def there(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    last = time.monotonic() + seconds
    while any(map(there, processes)) and time.monotonic() < last:
        time.sleep(0.05)
    return not any(map(there, processes))


def test_a_killed_study_takes_its_processes_along_and_repeats_no_finished_run(study, tmp_path):
    process = typed(study(2), tmp_path / "out.txt")
    until(lambda: any(run.finished for run in begun(tmp_path / "runs")), process, pause=0.1)
    processes = family(process)
    assert len(processes) >= 3
    assert kill(process)  # the parent alone
    assert gone(processes, seconds=10)
    finished = [run for run in begun(tmp_path / "runs") if run.finished]
    was = {path: stamp(path) for run in finished for path in run.folder.rglob("*") if path.is_file()}
    assert was and len(finished) < 3
    assert main(study(2)) == 0
    assert {path: stamp(path) for path in was} == was
    assert all(run.finished for run in begun(tmp_path / "runs")) and len(begun(tmp_path / "runs")) == 3
    assert not [path for path in (tmp_path / "runs").rglob(".*") if path.name != ".lock"]


def test_two_commands_at_once_train_each_run_once(study, tmp_path):
    with ThreadPoolExecutor(2) as pool:  # the runs are trained in processes
        both = [pool.submit(main, study(1)) for _ in range(2)]
        times: dict[str, set] = {}
        while not all(command.done() for command in both):
            for run in begun(tmp_path / "runs"):
                if run.finished:
                    times.setdefault(run.run_id, set()).add(stamp(run.folder / "done.json"))
            time.sleep(0.1)
    assert [command.result() for command in both] == [0, 0]
    assert len(begun(tmp_path / "runs")) == 3
    assert all(times.get(run.run_id, set()) <= {stamp(run.folder / "done.json")} for run in begun(tmp_path / "runs"))
    assert times and all(run.provenance["resumed"] == 0 for run in begun(tmp_path / "runs"))


def at_work(folder: Path) -> list[psutil.Process]:
    """The processes that train the runs in the folder."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(file.path.startswith(str(folder)) and file.path.endswith("/.lock") for file in process.open_files()):
                found.append(process)
    return found


INTERRUPTED = "chexlib: interrupted: the same command goes on from here"


def test_ctrl_c_ends_a_study_with_all_its_processes_and_says_what_to_do(study, tmp_path):
    """In a terminal it reaches every process."""
    process = typed(study(400), tmp_path / "out.txt")
    until(lambda: len(at_work(tmp_path)) == 2, process, pause=0.1)
    processes = family(process)
    os.killpg(process.pid, signal.SIGINT)
    try:
        assert ended(process, seconds=20) == 130
        assert gone(processes, seconds=20)
    finally:
        for one in filter(psutil.Process.is_running, processes):
            one.kill()
    assert said(tmp_path / "out.txt") == INTERRUPTED


def test_an_interrupt_of_the_command_alone_ends_its_processes(study, tmp_path, capsys):
    """As by kill -INT, or by what started it."""
    left = []

    def interrupt() -> None:
        until(lambda: len(at_work(tmp_path)) == 2, pause=0.1)
        processes = at_work(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)
        left.extend(psutil.wait_procs(processes, timeout=20)[1])
        for process in left:
            process.kill()  # or the command would wait for it

    before = signal.getsignal(signal.SIGINT)
    _hear_ctrl_c()
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert main(study(400)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert not left
    assert INTERRUPTED in capsys.readouterr().err.splitlines()


def test_ctrl_c_while_processes_begin_is_one_line(study, tmp_path):
    """The one that all others are forked from imports torch for a while before it can answer to anything."""
    process = typed(["study", "plan", *study(400)[2:3], "--runs", str(tmp_path / "runs")], tmp_path / "out.txt")
    until(lambda: any("forkserver" in " ".join(one.cmdline()) for one in family(process)), process, pause=0.1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    assert ended(process, seconds=20) == 130
    assert said(tmp_path / "out.txt") == INTERRUPTED
