"""Patients to training, validation and test, so that no patient is on two sides.

A patient's side depends on nothing but its name and the seed: adding or removing other patients moves nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "val", "test")


def split_by_patient(
    patients: Sequence[str], fractions: tuple[float, float, float] = (0.60, 0.15, 0.25), seed: int = 0
) -> np.ndarray:
    """One of train, val and test for each entry of `patients` (N,), about in these fractions of the patients.

    Raises ValueError where the fractions do not add up to 1.
    """
    if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
        raise ValueError(f"fractions={fractions}: train, val and test must add up to 1")
    train, val, _ = fractions
    names, where = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    draws = np.array([_draw(f"{seed}:{name}") for name in names])
    sides = np.where(draws < train, "train", np.where(draws < train + val, "val", "test"))
    return sides[where]


def _draw(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
