"""ImageNet weights ahead of a study, for machines that will have no network: which are here, and are they right?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chexlib.errors import UserError
from chexlib.models.trunks import untrained_trunk
from chexlib.models.weights import fill, locate, read, sha256_of, ways
from chexlib.models.zoo import ARCHITECTURES, Architecture, architecture


@dataclass(frozen=True)
class Prepared:
    """One architecture's weights: where they are and their SHA-256, or in `problem` why they cannot be used."""

    row: Architecture
    place: str = ""
    file: Path | None = None
    sha256: str = ""
    problem: str = ""


def here(names: Iterable[str] = ()) -> Iterator[Prepared]:
    """Which weights this machine has, of these architectures (all, where none is named); no file is read."""
    for row in _rows(names):
        found = locate(row)
        yield Prepared(row, found[0].name, found[1]) if found else Prepared(row, problem="not here")


def prepare(names: Iterable[str] = (), fetch: bool = False, folder: str | Path | None = None) -> Iterator[Prepared]:
    """Loads the weights into a network of their architecture, downloading them first where `fetch` allows it.

    With `folder`, a copy is left there as `<tag>.safetensors`, which CHEXLIB_WEIGHTS takes on any machine. Raises
    UserError for an unknown architecture, and where the folder cannot be written.
    """
    for row in _rows(names):
        found = locate(row, fetch)
        if found is None:
            yield Prepared(row, problem=ways(row))
            continue
        try:
            network = untrained_trunk(row)
            tensors, source = read(*found, row, network)
            fill(network, tensors, source["file"])
        except UserError as error:
            yield Prepared(row, found[0].name, found[1], problem=str(error))
            continue
        if folder:
            path = _copy(network, Path(folder).expanduser() / f"{row.tag}.safetensors")
            yield Prepared(row, found[0].name, path, sha256_of(path))
        else:
            yield Prepared(row, found[0].name, found[1], source["sha256"])


def _rows(names: Iterable[str]) -> list[Architecture]:
    return [architecture(name) for name in names] or list(ARCHITECTURES.values())


def _copy(network, path: Path) -> Path:
    """The network's tensors as a file, whole or not at all."""
    from safetensors.torch import save_file

    partial = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)
        partial.replace(path)
    except Exception as error:  # safetensors has an error of its own for a full disk
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error}): choose another folder") from None
    return path
