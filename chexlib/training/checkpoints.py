"""Checkpoints: the state that training resumes from, and the weights of the evaluations that enter the ensemble.

All files are safetensors, so that nothing but tensors is ever loaded; the position in training is a small JSON text
in the header. No random state is kept: each stretch between two evaluations draws from a seed of its own (see
chexlib.training.fit).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from chexlib.data.labels import parse_policy
from chexlib.errors import UserError
from chexlib.models import create_model
from chexlib.runs.spec import RunSpec
from chexlib.runs.store import Run

RESUME = "resume.safetensors"


@dataclass(frozen=True)
class Normaliser:
    """uint8 pixels to what a network takes."""

    mean: tuple[float, ...]  # one value, or one a channel
    std: tuple[float, ...]

    def __call__(
        self,
        images: np.ndarray | torch.Tensor,
        device: str | torch.device = "cpu",
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """images (N, H, W) or (N, 1, H, W) uint8 -> (N, 3, H, W) float32: scaled to [0, 1], repeated, normalised.

        `change` (an augmentation) comes after scaling, on the device, while there is one channel.
        """
        x = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
        x = x.reshape(len(x), 1, *x.shape[-2:]).to(device, non_blocking=True).float().div_(255)  # (N, 1, H, W)
        x = change(x) if change else x
        mean, std = (torch.tensor(v, device=device).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        return ((x - mean) / std).expand(-1, 3, -1, -1)


def weights_name(images: int) -> str:
    return f"images{images:09d}.safetensors"


def save_weights(run: Run, model: torch.nn.Module, images: int) -> None:
    """The weights after so many images."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    run.write(f"checkpoints/{weights_name(images)}", save(tensors))


def load_weights(run: Run, model: torch.nn.Module, images: int) -> None:
    """Fills the model with the weights after so many images. Raises UserError where they are not there."""
    path = run.checkpoints / weights_name(images)
    if not path.exists():
        raise UserError(f"{path}: no such file: published results hold no weights, train the run to have them")
    model.load_state_dict(load_file(path))


def keep_only(run: Run, kept: list[int]) -> None:
    """Removes the weights of all other evaluations."""
    names = {RESUME, *map(weights_name, kept)}
    for path in run.checkpoints.glob("*.safetensors"):
        if path.name not in names:
            path.unlink()


def save_resume_state(run: Run, model: torch.nn.Module, optimizer: torch.optim.Optimizer, log: list[dict]) -> None:
    """Model, optimiser and log in one file, so that they always belong together."""
    tensors = {f"model:{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer:{index}:{name}": tensor.contiguous() for name, tensor in state.items()}
    run.write(f"checkpoints/{RESUME}", save(tensors, metadata={"log": json.dumps(log)}))


def load_resume_state(run: Run, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[dict]:
    """Restores model and optimiser in place and returns the log so far; [] at the start of a run."""
    path = run.checkpoints / RESUME
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            log = json.loads(file.metadata()["log"])
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be read ({error}): remove the file to train this run from its start") from None
    model.load_state_dict({name.removeprefix("model:"): t for name, t in tensors.items() if name.startswith("model:")})
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer:"):
            _, index, key = name.split(":")
            state.setdefault(int(index), {})[key] = _laid_out_as(weights[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return log


def _laid_out_as(weight: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """An optimiser's tensor in its weight's memory format, which fused Adam takes for granted and files do not keep."""
    return torch.empty_like(weight).copy_(moment) if moment.shape == weight.shape else moment


def ensemble_members(log: list[dict], keep: int) -> list[int]:
    """The evaluations (by images seen) of the best mean validation AUC, the later one where two tie."""
    best = sorted(log, key=lambda row: (_number(row["auc"]), row["images"]), reverse=True)[:keep]
    return sorted(row["images"] for row in best)


def _number(auc: float | None) -> float:
    return -1.0 if auc is None else auc


def build(spec: RunSpec, train_mean_std: Callable[[], tuple[float, float]]) -> tuple[torch.nn.Module, Normaliser]:
    """The network as the spec initialises it, and its normalisation: its checkpoint's, else the training set's."""
    model = _network(spec, spec.init)
    if model.mean is not None:
        return model, Normaliser(tuple(model.mean), tuple(model.std))
    mean, std = train_mean_std()
    return model, Normaliser((mean,), (std,))


def load_model(run: Run) -> tuple[torch.nn.Module, Normaliser]:
    """The best checkpoint of a finished run, in eval mode, and its Normaliser."""
    norm, model = run.provenance["normalisation"], _network(run.spec, "random")
    [best] = ensemble_members(run.log(), keep=1)
    load_weights(run, model, best)
    return model.eval(), Normaliser(tuple(norm["mean"]), tuple(norm["std"]))


def _network(spec: RunSpec, init: str) -> torch.nn.Module:
    """With as many outputs for each finding as the spec's policy has classes."""
    classes = parse_policy(spec.policy).classes
    return create_model(spec.arch, init=init, minus=spec.minus, seed=spec.seed, classes=classes)
