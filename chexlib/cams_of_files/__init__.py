"""Class activation maps of a user's own image files: what `chexlib cam` does."""

from chexlib.cams_of_files.write import CamsOfFiles, cams_of_files

__all__ = ["CamsOfFiles", "cams_of_files"]
