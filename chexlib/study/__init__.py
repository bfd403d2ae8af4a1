"""Studies: axes in YAML to runs, and running them."""

from chexlib.study.study import Study, load_study, study_names

__all__ = ["Study", "load_study", "study_names"]
