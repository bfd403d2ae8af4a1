"""Checkpoints: the state that training resumes from, and the weights of the evaluations that enter the ensemble.

All files are safetensors, so that nothing but tensors is ever loaded; the position in training is a small JSON text
in the header, beside the SHA-256 of the tensors. Beside weights are their logits of a fixed image, which are compared
when they are loaded (chexlib.models.probe). The last two states are kept: where the newer one is damaged, training
goes on from the one before it. No random state is kept: each stretch between two evaluations draws from a seed of its
own (see chexlib.training.loop).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from chexlib.data.images import stretch
from chexlib.data.labels import FINDINGS, parse_policy
from chexlib.data.targets import further
from chexlib.errors import UserError
from chexlib.models import create_model, probe
from chexlib.models.networks import Classifier
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run
from chexlib.training.device import Normaliser

STATES, WEIGHTS = "resume*.safetensors", "images*.safetensors"
"""What training resumes from, and what enters the ensemble, by images seen: names sort as evaluations follow."""


def weights_name(images: int) -> str:
    return WEIGHTS.replace("*", f"{images:09d}")


def save_checkpoint(
    run: Run,
    model: Classifier,
    prepare: Normaliser,
    objective: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    log: list[dict],
    keep: int,
) -> None:
    """After the log's last evaluation, what an ensemble of `keep` and resuming need; the state makes the rest count."""
    now, before = (ensemble_members(rows, keep) for rows in (log, log[:-1]))
    if log[-1]["images"] in now:
        save_weights(run, model, log[-1]["images"], prepare)
    run.write_log(log)
    save_resume_state(run, model, objective, optimizer, log)
    keep_only(run, now + before, states=2)  # the state before serves where the newest is damaged


def save_weights(run: Run, model: Classifier, images: int, prepare: Normaliser | None = None) -> None:
    """The weights after so many images; with what prepares images for them, also their logits of a fixed one."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    kept = {}
    if prepare:
        kept["probe"] = probe.written(model, _network(run.spec), run.spec.size, _prepared(run.spec, prepare))
    _write(run, weights_name(images), tensors, **kept)


def load_weights(run: Run, model: Classifier, images: int, prepare: Normaliser | None = None) -> None:
    """Fills the model with the weights after so many images; `prepare` (None: as provenance says) makes its input.

    Raises UserError where they are not there, or damaged, and where network and images, as they are now, give other
    logits than when the weights were written: every prediction would be wrong by as much, and nothing would show it.
    """
    path = run.checkpoints / weights_name(images)
    if not path.exists():
        raise UserError(f"{path}: no such file: published results hold no weights, train the run to have them")
    run.read(path.relative_to(run.folder).as_posix())  # refuses what is damaged, or another run's
    try:
        tensors, metadata = _read(path)
    except ValueError as error:
        raise UserError(f"{path}: {error}: remove {run.folder} and train the run again") from None
    model.load_state_dict(tensors)
    if "probe" in metadata:
        probe.check(metadata["probe"], model, path, _prepared(run.spec, prepare or _normaliser(run)))


def _prepared(spec: RunSpec, prepare: Normaliser) -> torch.Tensor:
    """The picture of chexlib.models.probe as the run's images come to its network: (1, 3, size, size)."""
    return prepare(np.array(stretch(Image.fromarray(probe.picture()), spec.size))[None])


def keep_only(run: Run, members: list[int], states: int) -> None:
    """Removes the weights of all other evaluations, and all but the newest `states` to resume from."""
    kept = {weights_name(images) for images in members}
    for path in run.checkpoints.glob(WEIGHTS):
        if path.name not in kept:
            path.unlink()
    for path in sorted(run.checkpoints.glob(STATES), reverse=True)[states:]:
        path.unlink()


def untidy(run: Run) -> bool:
    """Whether a finished run was killed before it had removed what it resumes from."""
    return any(run.checkpoints.glob(STATES))


def tidy(run: Run) -> None:
    """What a finished run leaves."""
    keep_only(run, ensemble_members(run.log(), run.spec.keep), states=0)


def save_resume_state(
    run: Run,
    model: torch.nn.Module,
    objective: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    log: list[dict],
) -> None:
    """Model, what its loss has learned, optimiser and log in one file, so that they always belong together."""
    tensors = {f"model:{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {f"objective:{name}": tensor for name, tensor in objective.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer:{index}:{name}": tensor.contiguous() for name, tensor in state.items()}
    _write(run, STATES.replace("*", f"{log[-1]['images']:09d}"), tensors, log=json.dumps(log))


def load_resume_state(
    run: Run, model: torch.nn.Module, objective: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> list[dict]:
    """Restores model, loss and optimiser in place from the newest state that is whole, and returns the log so far.

    [] at the start of a run, and where no state is whole. A damaged state is said on stderr, and removed.
    """
    for path in sorted(run.checkpoints.glob(STATES), reverse=True):
        try:
            tensors, metadata = _read(path)
            log = json.loads(metadata["log"])
        except (ValueError, KeyError) as error:
            print(f"chexlib: {path}: {error}: training goes on from before it", file=sys.stderr)
            path.unlink()
        else:
            _restore(model, objective, optimizer, tensors)
            return log
    return []


def _restore(
    model: torch.nn.Module,
    objective: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, torch.Tensor],
) -> None:
    for module, kind in ((model, "model:"), (objective, "objective:")):
        module.load_state_dict({name.removeprefix(kind): t for name, t in tensors.items() if name.startswith(kind)})
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer:"):
            _, index, key = name.split(":")
            state.setdefault(int(index), {})[key] = _laid_out_as(weights[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _write(run: Run, name: str, tensors: dict[str, torch.Tensor], **metadata: str) -> None:
    run.write(f"checkpoints/{name}", save(tensors, metadata={"sha256": _sha256(tensors, metadata), **metadata}))


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """A file's tensors and its metadata. Raises ValueError where it is not what was written."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = file.metadata() or {}
            sha256 = metadata.pop("sha256", "")
    except SafetensorError as error:
        raise ValueError(f"cannot be read ({error})") from None
    if sha256 != _sha256(tensors, metadata):
        raise ValueError("is damaged (it holds not what was written)")
    return tensors, metadata


def _sha256(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256("".join(f"{name}={metadata[name]}" for name in sorted(metadata)).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _laid_out_as(weight: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """An optimiser's tensor in its weight's memory format, which fused Adam takes for granted and files do not keep."""
    return torch.empty_like(weight).copy_(moment) if moment.shape == weight.shape else moment


def ensemble_members(log: list[dict], keep: int) -> list[int]:
    """The evaluations (by images seen) of the best mean validation AUC, the later one where two tie.

    Of a run that learns ages alone, which have none, those of the least mean absolute error.
    """

    def merit(row: dict) -> float:
        without = row.get("mae:age") or 1.0
        return -without if row["auc"] is None else row["auc"]

    ranked = sorted((merit(row), row["images"]) for row in log)
    return sorted(images for _, images in ranked[-keep:])


def build(spec: RunSpec, train_mean_std: Callable[[], tuple[float, float]]) -> tuple[Classifier, Normaliser]:
    """The network as the spec initialises it, and its normalisation: its checkpoint's, else the training set's."""
    model = create_model(**_network(spec), init=spec.init, seed=spec.seed)
    if model.mean is not None:
        return model, Normaliser(tuple(model.mean), tuple(model.std))
    mean, std = train_mean_std()
    return model, Normaliser((mean,), (std,))


def load_model(run: Run) -> tuple[Classifier, Normaliser]:
    """The best checkpoint of a finished run, in eval mode, and its Normaliser. Raises UserError where it has none."""
    prepare, chosen = _normaliser(run), ensemble_members(run.log(), keep=1)
    model = create_model(**_network(run.spec), seed=run.spec.seed)
    load_weights(run, model, chosen[0], prepare)
    return model.eval(), prepare


def _normaliser(run: Run) -> Normaliser:
    """As the run's images were normalised. Raises UserError where it has trained no network."""
    norm = run.provenance.get("normalisation")
    if not (norm and run.log()):
        raise UserError(f"{run.folder}: holds no trained network: train it again")
    return Normaliser(tuple(norm["mean"]), tuple(norm["std"]))


def load_start(run: Run) -> tuple[Classifier, Normaliser]:
    """The network as a finished run began, made again from its spec, in eval mode, and its Normaliser."""
    return create_model(**_network(run.spec), init=run.spec.init, seed=run.spec.seed).eval(), _normaliser(run)


def _network(spec: RunSpec) -> dict[str, str | int | bool]:
    """create_model's arguments: as many outputs for each finding as the spec's policy has classes, and one for each
    further target."""
    findings = len(FINDINGS) if "findings" in spec.targets else 0
    classes = parse_policy(spec.policy).classes if findings else 1
    outputs = {"findings": findings, "classes": classes, "further": len(further(spec.targets))}
    return {"name": spec.arch, "minus": spec.minus, "norm": spec.norm, **outputs}
