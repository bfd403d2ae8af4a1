"""Where radiologists marked findings on CheXpert's validation and test images: CheXlocalize's files.

Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation" (Nature Machine Intelligence 2022), give
`gt_segmentations_val.json` and `gt_segmentations_test.json`: image to finding to a mask in COCO's compressed run
lengths, all zero where the finding is absent, which are decoded here. Boxes of NIH are read by
chexlib.data.readers.nih, masks of the phantom by chexlib.data.phantom.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chexlib.data.names import finding_of
from chexlib.errors import UserError

FILES = ("gt_segmentations_val.json", "gt_segmentations_test.json")


@dataclass(frozen=True)
class Segmentations:
    """Encoded masks by image ("patient64541_study1_view1_frontal") and finding."""

    files: tuple[Path, ...]
    encoded: dict[str, dict[str, dict[str, Any]]] = field(repr=False)

    def mask(self, image: str, finding: str) -> np.ndarray | None:
        """Where the finding is in an image of this path, (h, w) bool at the radiograph's size; None if not marked."""
        name = "_".join(Path(image).with_suffix("").parts[-3:])
        item = self.encoded.get(name, {}).get(finding)
        if item is None:
            return None
        try:
            mask = decode(item["counts"], *item["size"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            where = ", ".join(str(path) for path in self.files)
            raise UserError(f"{where}: the mask of {name}, {finding} is damaged ({error}): get the file anew") from None
        return mask if mask.any() else None


def find_segmentations(root: str | Path) -> Segmentations | None:
    """CheXlocalize's files in a CheXpert folder, beside it, or in a folder CheXlocalize there; None without any.

    Raises UserError for a file that is no such file.
    """
    root = Path(root).resolve()
    places = [place / inner for place in (root, root.parent) for inner in ("", "CheXlocalize")]
    files = [next((place / name for place in places if (place / name).is_file()), None) for name in FILES]
    files = tuple(path for path in files if path is not None)
    encoded = {}
    for path in files:
        encoded |= _read(path)
    return Segmentations(files, encoded) if files else None


def decode(counts: str, height: int, width: int) -> np.ndarray:
    """A mask (h, w) bool from COCO's compressed run lengths.

    Runs of 0 and of 1 take turns, 0 first, down the columns. A run is written in digits of five bits from the lowest
    on, each a character from "0" on, whose sixth bit says that more follow and whose fifth, in the last, is the sign;
    from the fourth run on, what is written is the difference from the run before the last.
    """
    runs, value, shift = [], 0, 0
    for character in counts.encode():
        digit = character - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift or any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"its runs do not fill {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        images = json.loads(path.read_text(encoding="utf-8"))
        return {
            image: {finding_of(name): item for name, item in findings.items() if finding_of(name)}
            for image, findings in images.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not CheXlocalize's segmentations ({error}): get the file anew") from None
