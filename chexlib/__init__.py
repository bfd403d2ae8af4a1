"""The executable CheXtransfer paper: data, architectures, truncation, training, statistics, class activation maps.

Importing does nothing: each public name is loaded when it is first used, so that `import chexlib` stays fast.
"""

from importlib import import_module

__version__ = "0.1.0"

_PUBLIC = {
    "RunSpec": "chexlib.runs.spec",
    "architectures": "chexlib.models.zoo",
    "create_model": "chexlib.models",
    "fit": "chexlib.training.loop",
    "grad_cam": "chexlib.explain.cam",
    "open_dataset": "chexlib.data.dataset",
    "open_results": "chexlib.results",
    "stats": "chexlib.stats",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'chexlib' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    return getattr(module, name, module)  # stats is a module itself


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
