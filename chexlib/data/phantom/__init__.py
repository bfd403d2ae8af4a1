"""Phantom chest radiographs, drawn from a seed: the embedded data set, in CheXpert's shape and with CheXpert's rates.

`write` makes a folder as Stanford ships CheXpert, so that the phantom goes through the very code that CheXpert does;
`read_masks` says where each finding was drawn. Behind them: population (who the patients are, what the labels say),
radiograph (one image), anatomy and lateral (a healthy chest from the front and from the side), pathology (the 14
observations), drawing (edges, lines, textures) and folder. A patient depends on nothing but the seed and the patient's
number, so the first images of a longer series are the shorter series. No patient of any hospital is in it, and nothing
learned here is of use on one.
"""

from __future__ import annotations

from chexlib.data.phantom.folder import read_masks, write

__all__ = ["VERSION", "read_masks", "write"]

VERSION = "3"
"""Raised when the same seed gives other pixels or labels, so that cached folders are made again."""
