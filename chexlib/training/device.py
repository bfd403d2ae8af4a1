"""What a network is computed on and with: the device, its precision, memory format and compiler, and its input."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from chexlib.errors import UserError
from chexlib.runs.spec import SETTINGS, RunSpec

INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
"""Flags of /proc/cpuinfo that say how floats are multiplied."""


def safe_settings() -> dict[str, str]:
    """What `auto` in a spec becomes where nobody measured: bf16 on a GPU that computes in it, else fp32."""
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False):
        return SETTINGS | {"precision": "bf16"}
    return dict(SETTINGS)


def start(spec: RunSpec, folder: Path | None = None) -> Accelerator:
    """The device in the spec's precision and with its threads; a process may use one precision, then another.

    With a `folder`, what is logged goes to TensorBoard files in it. fp32 is fp32 on GPUs, too, which would otherwise
    round the inputs of convolutions to TF32, and of cuDNN's algorithms those are taken that repeat exactly.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = spec.precision != "fp32"
    torch.backends.cudnn.deterministic = True
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision="bf16" if spec.precision == "bf16" else "no",
        log_with="tensorboard" if folder else None,
        project_dir=folder,
    )
    torch.set_num_threads(spec.threads)  # after Accelerate, which has an opinion where processes share a run
    return accelerator


def laid_out(model: torch.nn.Module, spec: RunSpec) -> torch.nn.Module:
    """The model in the spec's memory format."""
    return model.to(
        memory_format=torch.channels_last if spec.memory_format == "channels_last" else torch.contiguous_format
    )


def placed(model: torch.nn.Module, spec: RunSpec, accelerator: Accelerator) -> torch.nn.Module:
    """The model on its device, in the spec's memory format, compiled where the spec says so, shared between processes.

    Where GPUs share a batch, batch norm takes its statistics over the whole of it; torch cannot do so on CPUs, where
    they are of each process's part.
    """
    model = laid_out(model, spec)
    if spec.processes > 1 and accelerator.device.type == "cuda":
        from timm.layers import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)
    model = accelerator.prepare(model)
    if spec.execution == "compiled":
        if accelerator.device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
            raise UserError("execution=compiled needs a C++ compiler on a CPU: install g++, or choose execution=eager")
        model.compile()
    return model


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
        if torch.device(device).type == "cuda" and x.device.type == "cpu":
            x = x.pin_memory()  # so that it is copied while the GPU computes
        x = x.reshape(len(x), 1, *x.shape[-2:]).to(device, non_blocking=True).float().div_(255)  # (N, 1, H, W)
        x = change(x) if change else x
        mean, std = (_on_device(values, torch.device(device)) for values in (self.mean, self.std))
        return ((x - mean) / std).expand(-1, 3, -1, -1)


@lru_cache(maxsize=8)
def _on_device(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """(1, channels, 1, 1), copied once: a copy a batch would make the GPU wait."""
    return torch.tensor(values, device=device).reshape(1, -1, 1, 1)


def device_type() -> str:
    """cuda, or cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """As provenance says it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"


def processor() -> dict[str, str]:
    """What of the processor decides the last digits: its name, its instructions for floats, the libraries with them.

    `limits` are the variables by which a user keeps torch or oneDNN from instructions that the processor has.
    """
    config, cpuinfo = torch.__config__.show(), Path("/proc/cpuinfo")
    known = (
        dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line) if cpuinfo.exists() else {}
    )
    facts = {name.strip(): value.strip() for name, value in known.items()}
    flags = [flag for flag in facts.get("flags", "").split() if flag in INSTRUCTIONS]
    libraries = re.findall(r"(?:Math Kernel Library|MKL-DNN|OpenBLAS|Accelerate)[^\n(]*", config)
    limits = {name: os.environ[name] for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if name in os.environ}
    return {
        "model": facts.get("model name") or platform.processor() or platform.machine(),
        "instructions": " ".join(flags) or platform.machine(),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "blas": "; ".join(library.strip() for library in libraries),
        "limits": " ".join(f"{name}={value}" for name, value in limits.items()),
    }


def peak_memory_mb(accelerator: Accelerator) -> int:
    """The most that this process has held so far: of the GPU's memory where there is one, else of the machine's."""
    if accelerator.device.type == "cuda":
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)
