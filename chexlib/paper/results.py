"""A study's finished runs, opened for analysis: AUROCs over test studies, with intervals over patients.

Everything is computed from `predictions.parquet`, or, where a data set's terms keep labels back, from the replicates
that were published instead (`chexlib.results.held_out`). The images of one study are combined (by maximum, as CheXpert
is scored), the bootstrap draws patients, and all runs share its resamples, so that every difference is paired. Seeds of
one model are averaged as AUROCs and as replicates: the first interval says what other patients would have changed; a
second, over patients and seeds, what other trainings would have as well, where a model has several (`by_seed`). Figures
and tables take what this module offers, and read no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, architecture
from chexlib.models.truncate import parameters, pinned
from chexlib.results.held_out import HeldOut, Published, open_tested
from chexlib.runs.store import Run, RunStore, by_study, project_folder
from chexlib.stats import (
    BootstrapAreas,
    Difference,
    SeedDraws,
    draw_seeds,
    paired_difference,
    percentile_interval,
    seeds_interval,
)
from chexlib.study import load_study

RARE = 10
"""A task with fewer positive or negative test studies is kept out of the mean; our choice, the paper states none."""

IMAGES = {"phantom": "phantom images (not patients)"}
"""What the images are, where a caption has to say more than the data set's title."""


def open_results(study: str = "demo", runs: str | Path | None = None) -> Results:
    """The finished runs of a study.

    study: a name in notebooks/studies, or a YAML file. runs: the run store's folder (CHEXLIB_RUNS, or runs/ of the
    project, when empty); "results" for the published runs in results/<study>/. Raises UserError where the study is
    unknown or has no finished runs, and where its runs were not tested on the same images.
    """
    study = load_study(study)
    store = RunStore.open(project_folder() / "results" / study.name if runs == "results" else runs or None)
    planned = store.planned(study.name)
    finished = tuple(run for run in planned if run.finished)
    if not finished:
        raise UserError(
            f"study {study.name} has no finished runs in {_short(store.folder)}/: "
            f'run "chexlib study run {study.name}" first'
        )
    missing = tuple(run.run_id for run in planned if run not in finished)
    return Results(study.name, study.title, tuple(study.tasks), finished, missing)


@dataclass(frozen=True, eq=False)
class Results:
    """Finished runs of one study. M rows of `models`, S test studies, T tasks, R bootstrap replicates.

    `all_tasks` are the study's, of which those too rare for the mean are in `rare` and the others in `tasks`;
    `missing` are the run_ids that the study plans and that are not finished.
    """

    name: str
    title: str
    all_tasks: tuple[str, ...]
    finished: tuple[Run, ...]
    missing: tuple[str, ...] = ()
    n_boot: int = 1000

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: run_id, arch, minus, init, seed, label, family, parameters, top1, in_paper, folder.

        `top1` (percent) is that of the whole network's ImageNet checkpoint, so NaN for truncated ones; `in_paper`
        says that the architecture is one of the paper's sixteen, truncated or not.
        """
        return pd.DataFrame([_facts(run) for run in self.finished])

    @cached_property
    def models(self) -> pd.DataFrame:
        """One row a model (arch, minus, init), indexed "DenseNet121Minus1 · random", seeds averaged.

        Columns: label, arch, minus, init, seeds (how many), family, parameters, top1, in_paper, auc (mean over
        `tasks`), low, high (95 %, patients drawn anew), low_seeds, high_seeds (95 %, patients and seeds drawn anew, NaN
        for a model with one seed), and `auc:<task>` for every task, the rare ones too.
        """
        self._check_seeds()
        facts = ["label", "arch", "minus", "init", "family", "parameters", "top1", "in_paper"]
        table = self.runs.assign(model=self._model_of_run).groupby("model", sort=False)[facts].first()
        table.insert(4, "seeds", [len(places) for places in self._places])
        mean = self._of_mean.mean
        table["auc"] = [mean[places].mean() for places in self._places]
        table["low"], table["high"] = percentile_interval(self.replicates)
        alone = np.eye(len(table))
        table["low_seeds"], table["high_seeds"] = np.transpose([self.seeds_interval(one) for one in alone])
        for t, task in enumerate(self.all_tasks):
            table[f"auc:{task}"] = [self.bootstrap.area[places, t].mean() for places in self._places]
        return table.rename_axis("model")

    @cached_property
    def by_task(self) -> pd.DataFrame:
        """One row a model and task: model, task, rare, auc, low, high (95 %), for what the mean hides."""
        rows = []
        for model, places in zip(self.models.index, self._places, strict=True):
            low, high = percentile_interval(self.bootstrap.replicates[:, places].mean(axis=1))  # (T,) each
            rows += [
                {
                    "model": model,
                    "task": task,
                    "rare": task in self.rare.index,
                    "auc": self.models.loc[model, f"auc:{task}"],
                    "low": low[t],
                    "high": high[t],
                }
                for t, task in enumerate(self.all_tasks)
            ]
        return pd.DataFrame(rows)

    @cached_property
    def replicates(self) -> np.ndarray:
        """(R, M) mean AUROC over `tasks` in each replicate, aligned with the rows of `models`."""
        of_runs = self._of_mean.mean_replicates  # (R, runs)
        return np.stack([of_runs[:, places].mean(axis=1) for places in self._places], axis=1)

    def over_seeds(self, weights: np.ndarray, level: float = 0.95) -> np.ndarray:
        """(R, M) `replicates` in which seeds were drawn anew, too, for a statistic that weighs the models (M,) so.

        A model of weight 0 is left as it is, one with a single seed is NaN (`chexlib.stats.seeds`).
        """
        return self.replicates + self._seed_draws.shifts(weights, level)

    def seeds_interval(self, weights: np.ndarray, level: float = 0.95) -> tuple[float, float]:
        """Interval, patients and seeds drawn anew, of the sum of the models' mean AUROCs times weights (M,).

        NaN where any model that is weighed has a single seed.
        """
        low, high = seeds_interval(self.replicates @ weights, self.over_seeds(weights, level) @ weights, level)
        return float(low), float(high)

    @cached_property
    def task_replicates(self) -> np.ndarray:
        """(R, M, T) AUROC of each of `tasks` in each replicate, aligned with the rows of `models`."""
        kept = [t for t, task in enumerate(self.all_tasks) if task in self.tasks]
        of_runs = self.bootstrap.replicates[:, :, kept]  # (R, runs, T)
        return np.stack([of_runs[:, places].mean(axis=1) for places in self._places], axis=1)

    def difference(self, a: str | Sequence[str], b: str | Sequence[str], level: float = 0.95) -> Difference:
        """Mean AUROC of model a minus that of model b, paired: value, interval, two-sided bootstrap p.

        a, b: a label of `models.index`, or several, whose models are averaged. Its second interval is over patients and
        seeds, NaN unless all these models have several. Raises ValueError for other labels.
        """
        a, b = self._rows(a), self._rows(b)
        auc = self.models["auc"].to_numpy()
        found = paired_difference(
            auc[a].mean() - auc[b].mean(),
            self.replicates[:, a].mean(axis=1) - self.replicates[:, b].mean(axis=1),
            level,
        )
        weights = np.zeros(len(auc))
        np.add.at(weights, a, 1 / len(a))
        np.add.at(weights, b, -1 / len(b))
        low, high = self.seeds_interval(weights, level)
        return replace(found, low_seeds=low, high_seeds=high)

    @cached_property
    def seed_spread(self) -> pd.DataFrame:
        """Mean AUROC over seeds, one row a model with several, indexed like `models`: seeds, min, max, sd (n - 1)."""
        several = {
            model: self._of_mean.mean[places]
            for model, places in zip(self._model_names, self._places, strict=True)
            if len(places) > 1
        }
        rows = [(len(auc), auc.min(), auc.max(), auc.std(ddof=1)) for auc in several.values()]
        return pd.DataFrame(rows, columns=["seeds", "min", "max", "sd"], index=pd.Index(several, name="model"))

    @cached_property
    def by_seed(self) -> pd.DataFrame:
        """One row a run of a model with several seeds: model, seed, auc (mean over `tasks`)."""
        table = pd.DataFrame({"model": self._model_of_run, "seed": self.runs["seed"], "auc": self._of_mean.mean})
        return table[table["model"].isin(self.seed_spread.index)].reset_index(drop=True)

    @cached_property
    def rare(self) -> pd.DataFrame:
        """Tasks kept out of the mean, with their positives and negatives among the test studies; indexed by task."""
        return self.counts[self.counts.min(axis=1) < RARE]

    @property
    def counts(self) -> pd.DataFrame:
        """Positive and negative test studies of each task: columns positives, negatives, indexed by task."""
        return self._test.counts

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the mean; all of them where every one is rare (a toy study), which the caption then says."""
        return tuple(task for task in self.all_tasks if task not in self.rare.index) or self.all_tasks

    @property
    def n_studies(self) -> int:
        """Test studies, S."""
        return self._test.n_studies

    @property
    def n_patients(self) -> int:
        """Test patients."""
        return self._test.n_patients

    @property
    def withheld(self) -> bool:
        """Whether these are published replicates without labels: then the next three raise UserError."""
        return isinstance(self._test, Published)

    @property
    def labels(self) -> pd.DataFrame:
        """(S, T) labels of the test studies, 1, 0 or NaN (unknown), a column a task."""
        return pd.DataFrame(self._test.labels, columns=list(self.all_tasks))

    @property
    def scores(self) -> np.ndarray:
        """(runs, S, T) predicted probabilities, aligned with `runs`, `labels` and `all_tasks`."""
        return self._test.scores

    @property
    def patients(self) -> np.ndarray:
        """(S,) whose study it is."""
        return self._test.patients

    @cached_property
    def studies(self) -> pd.DataFrame:
        """One row a test study, in the order of `labels`: study, images (a tuple), patient, sex, age, view.

        sex, view: "" and age: NaN where they are not known; view: that of the frontal images, "" where they differ, and
        "LATERAL" where there are none. Raises UserError where these are withheld.
        """
        if self.withheld:
            _ = self.labels  # says why
        return _one_a_study(self.finished[0].predictions().query("split == 'test'"))

    @cached_property
    def validation(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each run, labels (V, T) and its scores (V, T) of V validation studies: to choose thresholds on.

        V is 0 where a run has none. Raises UserError where these are withheld.
        """
        if self.withheld:
            _ = self.labels  # says why
        tables = [run.predictions().query("split == 'val'") for run in self.finished]
        found = zip(tables, self.finished, strict=True)
        return [by_study(table, self.all_tasks, run.spec.aggregate)[:2] for table, run in found]

    @cached_property
    def bootstrap(self) -> BootstrapAreas:
        """The bootstrap of every run and every task, rare ones too."""
        return self._test.bootstrap(self.n_boot)

    def log(self, run_id: str) -> pd.DataFrame:
        """What a run logged, one row an entry: event, images, epoch, loss, auc, `auc:<task>`; ValueError if unknown."""
        for run in self.finished:
            if run.run_id == run_id:
                return pd.DataFrame(run.log())
        raise ValueError(f"run {run_id!r} is not in study {self.name}: its runs are in results.runs")

    @property
    def dataset(self) -> str:
        """ "phantom", "nih", "chexpert" ..."""
        return self.finished[0].spec.dataset

    @property
    def is_demo(self) -> bool:
        """Whether the images are drawn, not taken of patients."""
        return self.dataset == "phantom"

    @property
    def shareable(self) -> bool:
        """Whether the data set's terms let labels, ids and pixels be shown."""
        return self.dataset in SOURCES and SOURCES[self.dataset].shareable

    @property
    def caption(self) -> str:
        """What to put on every figure, e.g. "Study demo on phantom images (not patients), 37 of 39 runs"."""
        title = SOURCES[self.dataset].title if self.dataset in SOURCES else self.dataset
        n, planned = len(self.finished), len(self.finished) + len(self.missing)
        count = f"{n} of {planned} runs" if self.missing else f"{n} run" + "s" * (n != 1)
        toy = "; every task is rare, the mean is over them all" if len(self.rare) == len(self.all_tasks) else ""
        return f"Study {self.name} on {IMAGES.get(self.dataset, title)}, {count}{toy}"

    @cached_property
    def _test(self) -> HeldOut | Published:
        return open_tested(self.name, self.finished, self.all_tasks)

    @cached_property
    def _of_mean(self) -> BootstrapAreas:
        return self.bootstrap.select([self.all_tasks.index(task) for task in self.tasks])

    @cached_property
    def _seed_draws(self) -> SeedDraws:
        """One a replicate; published replicates may be fewer than `n_boot`."""
        return draw_seeds([self._of_mean.mean[places] for places in self._places], len(self.replicates))

    @cached_property
    def _model_of_run(self) -> list[str]:
        return [f"{run.label} · {run.init}" for run in self.runs.itertuples()]

    @cached_property
    def _model_names(self) -> list[str]:
        return list(dict.fromkeys(self._model_of_run))

    @cached_property
    def _places(self) -> list[np.ndarray]:
        """For each model, the places of its seeds in `runs`."""
        of_run = np.array(self._model_of_run)
        return [np.flatnonzero(of_run == model) for model in self._model_names]

    def _check_seeds(self) -> None:
        """Only what differs in nothing but the seed is averaged."""
        for model, places in zip(self._model_names, self._places, strict=True):
            first, *others = [asdict(self.finished[place].spec) | {"seed": None} for place in places]
            for place, other in zip(places[1:], others, strict=True):
                if differ := [name for name in first if first[name] != other[name]]:
                    pair = f"{self.finished[places[0]].run_id} and {self.finished[place].run_id}"
                    raise UserError(
                        f"study {self.name}: {pair} are both {model} but differ in {', '.join(differ)}, "
                        "not in the seed alone: put them in two studies"
                    )

    def _rows(self, labels: str | Sequence[str]) -> np.ndarray:
        labels = [labels] if isinstance(labels, str) else list(labels)
        for label in labels:
            if label not in self.models.index:
                known = ", ".join(self.models.index)
                raise ValueError(f"model {label!r} is not in study {self.name}: choose from {known}")
        return self.models.index.get_indexer(labels)


def _one_a_study(images: pd.DataFrame) -> pd.DataFrame:
    """What `Results.studies` says, from rows of images; in the order of `by_study`."""
    frontal = images["view"].where(images["view"] != "LATERAL")
    views = frontal.groupby(images["study"], sort=True)
    studies = images.groupby("study", sort=True)
    table = studies[["patient", "sex", "age"]].first()
    table["view"] = views.first().where(views.nunique() <= 1, "").fillna("LATERAL")
    table.insert(0, "images", studies["image"].agg(tuple))
    return table.fillna({"sex": ""}).reset_index()


def _facts(run: Run) -> dict:
    """What `Results.runs` says of a run. Accuracies, and what the paper trained, are in the zoo's table alone."""
    spec, row = run.spec, ARCHITECTURES.get(run.spec.arch)
    model = _model(run)
    return {
        "run_id": run.run_id,
        "arch": spec.arch,
        "minus": spec.minus,
        "init": spec.init,
        "seed": spec.seed,
        "label": model["label"],
        "family": model["family"],
        "parameters": model["parameters"],
        "top1": np.nan if spec.minus or row is None else row.top1,
        "in_paper": row is not None and row.in_paper,
        "folder": str(run.folder),
    }


def _model(run: Run) -> dict:
    """A run's label, family and parameters: the table's where it has them, else what the run noted, else timm's."""
    arch, minus = run.spec.arch, run.spec.minus
    noted = None if pinned(arch, minus) else run.provenance.get("model")
    if noted:
        return noted
    row = architecture(arch)
    return {"label": row.label(minus), "family": row.family, "parameters": parameters(row, minus)}


def _short(folder: Path) -> str:
    """The folder relative to the working directory where it lies in it."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
