"""What tests of weights share: a machine that has none, and reaches no network."""

import pytest
import torch

from chexlib.models import weights


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """CHEXLIB_WEIGHTS, and no other place that has anything, but for the registry's packages."""
    monkeypatch.setenv("CHEXLIB_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(weights, "_answers", lambda url: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda repository, filename: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def no_packages(monkeypatch):
    """Nor do these have anything."""
    monkeypatch.setattr(weights.importlib.metadata, "files", lambda package: None)
