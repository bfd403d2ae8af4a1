"""Sentences on a study itself: which runs, tested on whom, trained how, how far its seeds lie apart."""

from __future__ import annotations

from typing import Any

from chexlib.paper import measures
from chexlib.paper.notes import Note, says_missing, skips_missing
from chexlib.paper.wording import INIT_NAMES, closed, counted, listed, number, where, with_interval, with_intervals
from chexlib.results.held_out import WITHHELD


@says_missing
def about(results: Any) -> Note:
    """Which runs, which images, how many patients: the line that stands above a study's figures."""
    tasks = listed(list(results.tasks))
    text = (
        f"Study **{results.name}**, {counted(len(results.runs), 'run')}{where(results)}; tested on "
        f"{counted(results.n_studies, 'study', 'studies')} of {counted(results.n_patients, 'patient')}. "
        f"The AUC is the mean over {counted(len(results.tasks), 'task')}: {tasks}."
    )
    if len(results.rare):
        text += f" {rare(results)}"
    return Note(text)


@skips_missing
def rare(results: Any) -> Note:
    """Which of the tasks are kept out of the mean, and why."""
    table = results.rare
    if not len(table):
        return Note("No task is too rare for the mean.")
    counts = [f"{row.Index} ({row.positives:,} positive, {row.negatives:,} negative)" for row in table.itertuples()]
    if len(table) == len(results.all_tasks):
        return Note(
            "Every task has fewer than 10 positive or negative test studies, so the mean is over them all: "
            f"{listed(counts)}."
        )
    return Note(f"Kept out of the mean, for having fewer than 10 positive or negative test studies: {listed(counts)}.")


@skips_missing
def spread(results: Any) -> Note:
    """How far seeds lie apart, next to which every difference between single-seed models is to be read."""
    table = results.seed_spread
    if not len(table):
        return Note(
            "Every model was trained once, so nothing here says how far two seeds of one model lie apart, and no "
            "interval covers it."
        )
    width, once = table["max"] - table["min"], len(results.models) - len(table)
    least, most = table["seeds"].min(), table["seeds"].max()
    seeds = f"{least}" if least == most else f"{least} to {most}"
    text = (
        f"{counted(len(table), 'model was', 'models were')} trained from {seeds} seeds each; the highest and the "
        f"lowest seed of a model lie {number(width.median())} apart in the median, {number(width.max())} at most. "
        "Intervals over patients and seeds include this spread; those over patients alone hold for the trained "
        "models at hand. "
    )
    if once:
        text += f"{counted(once, 'model was', 'models were')} trained once, and no interval of theirs covers seeds."
    return Note(text.strip())


@skips_missing
def protocol(results: Any) -> Note:
    """How the runs were trained: size of images, epochs, learning rate, and what was kept."""
    spec = results.finished[0].spec
    kept = "its best evaluation" if spec.keep == 1 else f"its {spec.keep} best evaluations"
    return Note(
        f"Every network sees {spec.size} by {spec.size} pixels and is trained for {counted(spec.epochs, 'epoch')} by "
        f"Adam, with learning rate {spec.lr:g} and {spec.batch_size} images a batch; what is scored is the mean "
        f"prediction of {kept} on the validation patients."
    )


@skips_missing
def view_auc(results: Any) -> Note:
    """How far one gets with nothing but the view (AP or not): what every model's AUC is to be read against."""
    if results.withheld:
        return Note(f"How far the view alone carries is not said: {WITHHELD}.")
    found = measures.view_alone(results)
    if found is None:
        return Note("The test images are all of one view, so the view predicts nothing.")
    task = "No Finding"
    shares = [f"{share:.0%} of {view} images" for view, share in measures.positive_by_view(results, task).items()]
    return Note(
        f"{task} is the label of {listed(shares)} in the test set. Telling the views apart, and nothing else, gives a "
        f"mean AUC of {with_interval(found.value, found.low, found.high)} over the same tasks and patients."
    )


@says_missing
def real(results: Any) -> Note:
    """Answer of notebook 11: what came out on real X-rays."""
    found = measures.mean_boost(results)
    if found is None:
        return Note(
            f"{counted(len(results.runs), 'run')}{where(results)} so far, and no architecture from both inits "
            "among them."
        )
    best = results.models["auc"].idxmax()
    at = results.models.loc[best]
    return closed(
        f"{counted(results.n_studies, 'test study', 'test studies')} of "
        f"{counted(results.n_patients, 'patient')}{where(results)}: the best mean AUC is {at['label']}'s, with "
        f"{INIT_NAMES.get(at['init'], at['init'])}, {with_intervals(measures.stated(at, 'auc'))}, and "
        f"ImageNet weights add {with_intervals(found, sign=True)} for "
        f"{listed(list(measures.boosts(results)['label']))}"
    )
