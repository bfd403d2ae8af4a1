"""A study's finished runs as tables and replicates: what every analysis starts from.

Everything is computed from `predictions.parquet`, or, where a data set's terms keep labels back, from the replicates
that were published instead. The images of one study are combined (by maximum, as CheXpert is scored). A replicate draws
anew all that could have come out otherwise: the test patients, the same draw for every network, so that differences are
paired; and, where the study trained any network several times, the seeds (`chexlib.stats.seeds`). Whatever is computed
from `models` can be computed in each row of `replicates` as well, and the middle 95 % of that is its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike

from chexlib.data.sources import SOURCES
from chexlib.errors import UserError
from chexlib.models import ARCHITECTURES, architecture
from chexlib.models.truncate import parameters, pinned
from chexlib.results.estimate import AUC_MARGIN, Estimate
from chexlib.results.held_out import HeldOut, Published, open_tested, shown_log
from chexlib.results.similarities import read_similarities
from chexlib.runs.store import Run, RunStore, by_study, project_folder
from chexlib.stats import BootstrapAreas, SeedSpread, seed_shifts, seed_spreads
from chexlib.stats.bootstrap import mean_over_tasks
from chexlib.stats.intervals import FEW
from chexlib.study import load_study
from chexlib.study.study import flat_fields


def open_results(
    study: str = "phantom",
    runs: str | Path | None = "results",
    tasks: Sequence[str] | str = (),
    margin: float = AUC_MARGIN,
    replicates: int = 1000,
    seed: int = 0,
) -> Results:
    """The finished runs of a study that learned findings.

    study: a name in notebooks/studies, or a YAML file. runs: "results" for the published runs in results/<study>/, else
    the run store's folder (CHEXLIB_RUNS, or runs/ of the project, when empty). tasks: whose mean AUC is the result (the
    study's, less the rare ones, when empty); a text is one task, or a list as a command line has it. margin: of AUC,
    within which two networks are the same. replicates, seed: of the bootstrap. Raises UserError where the study is
    unknown, has no finished runs or lacks a task, and where its runs were not tested on the same images.
    """
    plan = load_study(study)
    store = RunStore.open(project_folder() / "results" / plan.name if runs == "results" else runs or None)
    planned = store.planned(plan.name)
    others = {run.run_id for run in planned if run.finished and not run.learned_findings}
    planned = [run for run in planned if run.run_id not in others]
    finished = tuple(run for run in planned if run.finished)
    if not finished:
        folder = store.folder
        shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        if others:
            raise UserError(f"study {plan.name}: its finished runs in {shown}/ learned no findings, so have no results")
        raise UserError(
            f'study {plan.name} has no finished runs in {shown}/: run "chexlib study run {plan.name}" first'
        )
    tasks = _listed(tasks)
    if strange := [task for task in tasks if task not in plan.tasks]:
        near = get_close_matches(strange[0], plan.tasks, n=1)
        hint = f"did you mean {near[0]!r}? They are" if near else "they are"
        raise UserError(f"tasks: {', '.join(strange)} is none of study {plan.name}'s: {hint} {', '.join(plan.tasks)}")
    if replicates < 1:
        raise UserError(f"replicates={replicates}: must be at least 1")
    return Results(plan.name, plan.tasks, finished, len(planned), plan.usual, tasks, margin, replicates, seed)


@dataclass(frozen=True, eq=False)
class Results:
    """Finished runs of one study. M networks (rows of `models`), S test studies, T of `all_tasks`, R replicates.

    A network is an architecture, truncated or not, from one init; its seeds are averaged as AUCs. Where the study
    varies more than these (`Study.usual`), the name of a network says in what it departs from the usual, and it is a
    variant. Variants do not count as the paper's, so that no architecture counts twice.
    """

    name: str
    all_tasks: tuple[str, ...]
    finished: tuple[Run, ...]
    planned: int
    usual: Mapping[str, object]
    chosen: tuple[str, ...] = ()
    margin: float = AUC_MARGIN
    n_boot: int = 1000
    seed: int = 0

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: run_id, model, label, arch, minus, norm, init, seed, variant, a column for each field of
        `usual`, family, parameters, top1, in_paper, folder, auc.

        `variant` is "lr 0.01" where `label` is "ResNet18, lr 0.01", and empty for what is usual. `top1` (percent) is
        that of the whole network's ImageNet checkpoint, so NaN for truncated ones; `in_paper` says that the
        architecture is one of the paper's sixteen, truncated or not, and this no variant; `auc` is the mean over
        `tasks`.
        """
        table = pd.DataFrame([_row(run, self.usual) for run in self.finished])
        return table.assign(auc=mean_over_tasks(self.bootstrap.area[:, self._kept]))  # (runs,)

    @cached_property
    def models(self) -> pd.DataFrame:
        """One row a network, indexed "DenseNet121Minus1 · random": label, arch, minus, norm, init, variant, a
        column for each field of `usual`, seeds, family, parameters, top1, in_paper, auc (mean over `tasks`), low, high
        (95 %, over what `over` says).
        """
        self._check_seeds()
        runs = self.runs.drop(columns=["run_id", "seed", "folder", "auc"]).groupby("model", sort=False)
        table = runs.first()
        table.insert(table.columns.get_loc("family"), "seeds", runs.size())
        auc = self.runs.groupby("model", sort=False)["auc"].mean()
        return table.assign(auc=auc, **self.intervals(auc, self.replicates)[["low", "high"]].clip(0, 1))  # AUCs

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """(R, M): the networks' mean AUC over `tasks`, with everything in `over` drawn anew in each row."""
        return self._means(self.task_replicates)

    @cached_property
    def patient_replicates(self) -> pd.DataFrame:
        """(R, M): as `replicates`, with patients alone drawn anew."""
        return self._means(self._patients)

    @cached_property
    def task_auc(self) -> pd.DataFrame:
        """(M, T): AUC of each network on each of the study's tasks, the rare ones too."""
        area = [self.bootstrap.area[places].mean(axis=0) for places in self._places.values()]
        return pd.DataFrame(area, index=pd.Index(self._places, name="model"), columns=list(self.all_tasks))

    @cached_property
    def task_replicates(self) -> np.ndarray:
        """(R, M, T): `task_auc` with everything in `over` drawn anew; NaN where a draw lacks a class of the task."""
        if self.over == "patients":
            return self._patients
        seeds = [len(places) for places in self._places.values()]
        return self._patients + seed_shifts(seeds, list(self.spreads.values()), len(self._patients), self.seed)

    @cached_property
    def spreads(self) -> dict[str, SeedSpread | None]:
        """What a seed does to the AUCs of each network; None where the study trained every network once.

        Networks from one init, of one variant, share theirs: fewer images can make all of them less steady.
        """
        firsts = self.runs.iloc[[places[0] for places in self._places.values()]]
        pools = list(zip(firsts["init"], firsts["variant"], strict=True))
        found = seed_spreads([self.bootstrap.area[places] for places in self._places.values()], pools)
        return {model: found[pool] for model, pool in zip(self._places, pools, strict=True)}

    @cached_property
    def similarity(self) -> pd.DataFrame:
        """How alike runs are inside (chexlib.results.similarities), one row a comparison, stage and measure: model,
        label, init, seed, at ("start" or "end"), the same of the other (other_model ...), stage, measure, value, low,
        high, null, images, enough (whether the images are). Without a row where nothing was compared.
        """
        table = read_similarities(self.finished[0].folder.parent, self.name)
        its = self.runs.set_index("run_id")[["model", "label", "init", "seed"]]
        table = table.join(its, on="run", how="inner").join(its.add_prefix("other_"), on="other", how="inner")
        columns = [*its, "at", *its.add_prefix("other_"), "other_at", "stage", "measure"]
        columns += ["value", "low", "high", "null", "images"]
        return table[columns].assign(enough=table["images"] >= table["needed"])

    @property
    def summary(self) -> pd.DataFrame:
        """What is at hand, in one column: runs, networks, who was tested, on which tasks, what is drawn anew."""
        left_out = [row for row in self.rare.itertuples() if not self.chosen and row.Index not in self.tasks]
        once = "; each network was trained once, so what a seed does is not known" if self.over == "patients" else ""
        rows = {
            "study": self.caption,
            "networks": f"{len(self.models)} from {len(self.finished)} run" + "s" * (len(self.finished) != 1),
            "tested on": f"{self.n_studies:,} studies of {self.n_patients:,} patients",
            "AUC": "mean over " + ", ".join(self.tasks),
            "too rare for it": ", ".join(f"{row.Index} ({row.positives} positive)" for row in left_out) or "none",
            "drawn anew": f"{self.over}, {self.n_boot:,} times{once}",
        }
        if few := self.few():
            rows["verdicts"] = f"none: {few}"
        return pd.DataFrame({"": rows})

    @property
    def over(self) -> str:
        """What `replicates` draw anew: "patients", or "patients and seeds" where a network has several."""
        return "patients" if None in self.spreads.values() else "patients and seeds"

    def estimate(self, value: float, replicates: ArrayLike, tasks: Sequence[str] = (), **options: object) -> Estimate:
        """A number computed from `models`, with the interval of the same in each of `replicates` (R,).

        tasks: of which it is, those in the mean when empty. Where one of them is rare, the interval is BCa, and there
        is no verdict. Options are those of `Estimate.of`.
        """
        stated = {"over": self.over, "margin": self.margin, "few": self.few(tasks), "drawn": self.bootstrap.drawn}
        return Estimate.of(value, replicates, **(stated | options))

    def intervals(self, values: pd.Series, replicates: ArrayLike) -> pd.DataFrame:
        """Several such numbers (K,) with theirs (R, K): columns value, low, high, verdict, of `values`' index."""
        columns = ["value", "low", "high", "verdict"]
        found = [self.estimate(*one) for one in zip(values, np.asarray(replicates, dtype=float).T, strict=True)]
        rows = [[getattr(one, column) for column in columns] for one in found]
        return pd.DataFrame(rows, index=values.index, columns=columns)

    def few(self, tasks: Sequence[str] = ()) -> str:
        """Why no verdict is given on these tasks (those in the mean when empty); empty where one is.

        A class of one of them has fewer than FEW test studies.
        """
        rare = self.rare.loc[[task for task in tasks or self.tasks if task in self.rare.index]]
        if rare.empty:
            return ""
        classes = " or ".join(sorted(set(rare.idxmin(axis=1).str.removesuffix("s")), reverse=True))
        whose = " and ".join(rare.index) if len(rare) < 3 else f"{len(rare)} tasks"
        return f"fewer than {FEW} {classes} test studies of {whose}"

    @cached_property
    def counts(self) -> pd.DataFrame:
        """Positive and negative test studies of each task: columns positives, negatives, indexed by task."""
        return self._test.counts

    @cached_property
    def rare(self) -> pd.DataFrame:
        """The rows of `counts` with fewer than FEW of a class: kept out of the mean, unless they were asked for."""
        return self.counts[self.counts.min(axis=1) < FEW]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the mean: those asked for, else all that are not rare, else (a toy study) all."""
        return self.chosen or tuple(t for t in self.all_tasks if t not in self.rare.index) or self.all_tasks

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
        """Whether these are published replicates without labels: then what is below raises UserError."""
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
        "LATERAL" where there are none.
        """
        _ = self.labels  # says why where they are withheld
        images = self.finished[0].predictions().query("split == 'test'")
        views = images["view"].where(images["view"] != "LATERAL").groupby(images["study"], sort=True)
        studies = images.groupby("study", sort=True)
        table = studies[["patient", "sex", "age"]].first()
        table["view"] = views.first().where(views.nunique() <= 1, "").fillna("LATERAL")
        table.insert(0, "images", studies["image"].agg(tuple))
        return table.fillna({"sex": ""}).reset_index()

    @cached_property
    def validation(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each run, labels (V, T) and its scores (V, T) of V validation studies: to choose thresholds on."""
        _ = self.labels  # says why where they are withheld
        tables = [run.predictions().query("split == 'val'") for run in self.finished]
        found = zip(tables, self.finished, strict=True)
        return [by_study(table, self.all_tasks, run.spec.aggregate)[:2] for table, run in found]

    @cached_property
    def bootstrap(self) -> BootstrapAreas:
        """The bootstrap over patients of every run and every task, rare ones too."""
        return self._test.bootstrap(self.n_boot, self.seed)

    def log(self, run_id: str) -> pd.DataFrame:
        """A run's evaluations, a row each: event, images, epoch, loss, auc, and, where the data set's terms let it be
        shown, `auc:<task>`. ValueError where the run is unknown."""
        for run in self.finished:
            if run.run_id == run_id:
                return pd.DataFrame(shown_log(run))
        raise ValueError(f"run {run_id!r} is not in study {self.name}: its runs are in results.runs")

    @property
    def dataset(self) -> str:
        """ "phantom", "nih", "chexpert" ..."""
        return self.finished[0].spec.dataset

    @property
    def shareable(self) -> bool:
        """Whether the data set's terms let labels, ids and pixels be shown."""
        return SOURCES[self.dataset].shareable

    @property
    def caption(self) -> str:
        """What stands at the head of every figure: "Study phantom on phantom images (not patients), 37 of 113 runs"."""
        images = "phantom images (not patients)" if self.dataset == "phantom" else SOURCES[self.dataset].title
        n = len(self.finished)
        count = f"{n} of {self.planned} runs" if n < self.planned else f"{n} run" + "s" * (n != 1)
        toy = "; every task is rare" if len(self.rare) == len(self.all_tasks) else ""
        chosen = f", {', '.join(self.chosen)} alone" if self.chosen else ""
        return f"Study {self.name} on {images}, {count}{chosen}{toy}"

    @cached_property
    def _test(self) -> HeldOut | Published:
        return open_tested(self.name, self.finished, self.all_tasks)

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        """For each network, the places of its seeds in `finished`."""
        return {name: np.flatnonzero(self.runs["model"] == name) for name in self.runs["model"].unique()}

    @cached_property
    def _kept(self) -> list[int]:
        return [self.all_tasks.index(task) for task in self.tasks]

    @cached_property
    def _patients(self) -> np.ndarray:
        """(R, M, T) with patients alone drawn anew."""
        return np.stack([self.bootstrap.replicates[:, at].mean(axis=1) for at in self._places.values()], axis=1)

    def _means(self, of_tasks: np.ndarray) -> pd.DataFrame:
        """(R, M): the mean over `tasks` of (R, M, T), over those that a draw has both classes of."""
        means = mean_over_tasks(of_tasks[:, :, self._kept])
        return pd.DataFrame(means, columns=pd.Index(self._places, name="model"))

    def _check_seeds(self) -> None:
        """Only what differs in nothing but the seed is averaged."""
        for model, places in self._places.items():
            first, *others = [asdict(self.finished[place].spec) | {"seed": None} for place in places]
            for place, other in zip(places[1:], others, strict=True):
                if differ := [name for name in first if first[name] != other[name]]:
                    pair = f"{self.finished[places[0]].run_id} and {self.finished[place].run_id}"
                    raise UserError(
                        f"study {self.name}: {pair} are both {model} but differ in {', '.join(differ)}, "
                        "not in the seed alone: put them in two studies"
                    )


def _listed(tasks: Sequence[str] | str) -> tuple[str, ...]:
    """Tasks as a tuple; Papermill's -p hands on '["Edema"]' as the text that it is."""
    if not isinstance(tasks, str):
        return tuple(tasks)
    if not tasks.startswith("["):
        return (tasks,) if tasks else ()
    try:
        return tuple(map(str, yaml.safe_load(tasks)))
    except yaml.YAMLError:
        raise UserError(f'tasks: {tasks} is not a list: write it as ["Edema", "No Finding"]') from None


def _row(run: Run, usual: Mapping[str, object]) -> dict:
    """What `Results.runs` says of a run. Accuracies, and what the paper trained, are in the zoo's table alone."""
    spec, row, built = run.spec, ARCHITECTURES.get(run.spec.arch), _built(run)
    fields = flat_fields(spec)
    its = {name: fields.get(name) for name in usual}
    variant = ", ".join(f"{name} {value}" for name, value in its.items() if value != usual[name])
    label = f"{built['label']}, {variant}" if variant else built["label"]
    return {
        "run_id": run.run_id,
        "model": f"{label} · {spec.init}",
        "label": label,
        "arch": spec.arch,
        "minus": spec.minus,
        "norm": spec.norm,
        "init": spec.init,
        "seed": spec.seed,
        "variant": variant,
        **its,
        "family": built["family"],
        "parameters": built["parameters"],
        "top1": np.nan if spec.minus or row is None else row.top1,
        "in_paper": row is not None and row.in_paper and not variant,
        "folder": str(run.folder),
    }


def _built(run: Run) -> dict:
    """A run's label, family and parameters: the table's where it has them, else what the run noted, else timm's."""
    arch, minus, norm = run.spec.arch, run.spec.minus, run.spec.norm
    noted = None if pinned(arch, minus) else run.provenance.get("model")
    if noted:
        return {name: noted[name] for name in ("label", "family", "parameters")}
    row = architecture(arch)
    return {"label": row.label(minus, norm), "family": row.family, "parameters": parameters(row, minus, norm)}
